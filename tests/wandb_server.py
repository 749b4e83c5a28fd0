"""A stand-in for W&B on this machine, for the real `wandb` client: it takes runs, files and artifacts, and keeps them.

Spoken are the few questions that the client asks (GraphQL at /graphql), the stream of a run's figures
(POST .../file_stream) and uploads (PUT). A question that it does not know is answered by an error, as W&B would.
"""

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789planted" + "0" * 23
"""Forty characters, as a W&B key has; not one."""


@dataclass
class Run:
    """What arrived of one run. `about`: the variables of its UpsertBucket."""

    about: dict[str, Any] = field(default_factory=dict)
    history: list[dict] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def config(self) -> dict[str, Any]:
        return {k: v["value"] for k, v in json.loads(self.about["config"]).items()}

    def as_resumed(self, name: str) -> dict[str, Any]:
        """What a client is told that goes on with it."""
        tail = json.dumps([json.dumps(row) for row in self.history[-1:]])
        known: dict[str, Any] = {
            "name": name,
            "historyTail": tail,
            "eventsTail": "[]",
            "summaryMetrics": json.dumps(self.summary),
        }
        known |= {"config": self.about.get("config", "{}"), "wandbConfig": json.dumps({"t": 1}), "tags": []}
        return known | {"historyLineCount": len(self.history), "eventsLineCount": 0, "logLineCount": 0}


class Wandb(ThreadingHTTPServer):
    """Starts at once in a thread, on a free port. `runs`: id -> run; `artifacts`: name -> file -> bytes.

    `sweep`, `program`, `trials`: the YAML of a sweep, its program, and the settings that its agent is given, one after
    the other. `trouble`: the status and the text of every answer, as long as it is set; status 0: none comes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.runs: dict[str, Run] = {}
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.committed: set[str] = set()
        self.asked: list[str] = []
        self.unknown: set[str] = set()
        self.raw: list[bytes] = []
        self.trials: list[dict[str, Any]] = []
        self.sweep = self.program = ""
        self.trouble: tuple[int, str] | None = None
        self.lock = threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no error here."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def run(self, name: str) -> Run:
        return self.runs.setdefault(name, Run())

    @property
    def by_name(self) -> dict[str, Run]:
        """Runs under the names that people see."""
        return {run.about.get("displayName") or key: run for key, run in self.runs.items()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Wandb

    def log_message(self, *words) -> None:
        pass

    def answer(self, value: Any, code: int = 200) -> None:
        data = json.dumps(value).encode()
        if self.server.trouble:
            code, text = self.server.trouble
            data = text.encode()
        if code == 0:
            return self.keep_silent()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def keep_silent(self) -> None:
        while self.server.trouble:
            time.sleep(0.05)
        self.close_connection = True

    def body(self) -> bytes:
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.raw.append(data)
        return data

    def do_GET(self) -> None:
        self.answer({})

    def do_PUT(self) -> None:
        """/put/run/ID/NAME or /put/artifact/NAME/FILE."""
        _, _, kind, owner, name = self.path.split("/", 4)
        data = self.body()
        if self.server.trouble:
            return self.answer({})
        with self.server.lock:
            kept = self.server.run(owner).files if kind == "run" else self.server.artifacts[owner]
            kept[name] = data
        self.answer({})

    def do_POST(self) -> None:
        body = self.body()
        if self.server.trouble or "/otel/" in self.path:
            return self.answer({})
        given = json.loads(body or b"{}")
        if self.path.endswith("/file_stream"):
            return self.stream(self.path.split("/")[-2], given)
        operation = given.get("operationName") or given["query"].split("(")[0].split()[1]
        with self.server.lock:
            self.server.asked.append(operation)
            reply = getattr(self, operation, None)
            if reply is None:
                self.server.unknown.add(operation)
                return self.answer({"errors": [{"message": f"unknown: {operation}"}]}, 400)
            return self.answer({"data": reply(given.get("variables") or {})})

    def stream(self, name: str, given: dict) -> None:
        with self.server.lock:
            run = self.server.run(name)
            files = given.get("files") or {}
            run.history += [json.loads(line) for line in files.get("wandb-history.jsonl", {}).get("content", [])]
            for line in files.get("wandb-summary.json", {}).get("content", []):
                run.summary = json.loads(line)
            if given.get("complete"):
                run.exit_code = given.get("exitcode")
        self.answer({})

    # GraphQL

    def Viewer(self, _: dict) -> dict:
        user = {"id": "1", "entity": "someone", "username": "someone", "flags": "{}", "teams": {"edges": []}}
        return {"viewer": user}

    def ServerFeaturesQuery(self, _: dict) -> dict:
        return {"serverInfo": {"features": []}}

    def RunResumeStatus(self, given: dict) -> dict:
        known = self.server.runs.get(given["name"])
        bucket = known.as_resumed(given["name"]) if known else None
        return {"model": {"id": "1", "name": "chestfold", "entity": {"id": "1", "name": "someone"}, "bucket": bucket}}

    def UpsertBucket(self, given: dict) -> dict:
        name = given["name"]
        self.server.run(name).about |= {k: v for k, v in given.items() if v is not None}
        project = {"id": "1", "name": "chestfold", "entity": {"id": "1", "name": "someone"}}
        bucket = {"id": name, "name": name, "displayName": given.get("displayName"), "project": project}
        bucket |= {"config": None, "sweepName": None, "historyLineCount": 0}
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    # Sweeps

    def UpsertSweep(self, given: dict) -> dict:
        project = {"id": "1", "name": "chestfold", "entity": {"id": "1", "name": "someone"}}
        return {"upsertSweep": {"sweep": {"name": "sweep1", "project": project}, "configValidationWarnings": []}}

    def SweepWithRuns(self, _: dict) -> dict:
        return {"project": {"sweep": {"name": "sweep1", "config": self.server.sweep, "runs": {"edges": []}}}}

    def CreateAgent(self, _: dict) -> dict:
        return {"createAgent": {"agent": {"id": "agent1"}}}

    def Heartbeat(self, given: dict) -> dict:
        """The next trial, when the one before has ended."""
        commands: list[dict[str, Any]] = []
        if json.loads(given["runState"]):
            pass
        elif self.server.trials:
            args = {name: {"value": value} for name, value in self.server.trials.pop(0).items()}
            number = self.server.asked.count("Heartbeat")
            commands = [{"type": "run", "run_id": f"trial{number}", "args": args, "program": self.server.program}]
        else:
            commands = [{"type": "exit"}]
        return {"agentHeartbeat": {"agent": {"id": "agent1"}, "commands": json.dumps(commands)}}

    def RunStoppedStatus(self, _: dict) -> dict:
        return {"project": {"run": {"stopped": False}}}

    def CreateRunFiles(self, given: dict) -> dict:
        places = [{"name": f, "uploadUrl": f"{self.server.url}/put/run/{given['run']}/{f}"} for f in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": places}}

    def ArtifactType(self, given: dict) -> dict:
        return {"project": {"artifact": None}}

    def CreateArtifact(self, given: dict) -> dict:
        name = given["input"]["artifactCollectionName"] if "input" in given else given["artifactCollectionNames"][0]
        self.server.artifacts[name] = {}
        sequence = {"id": "1", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": sequence}}}

    def CreateArtifactManifest(self, given: dict) -> dict:
        name = given["artifactID"]
        file = {"id": "1", "name": given["name"], "displayName": given["name"], "uploadHeaders": []}
        file["uploadUrl"] = f"{self.server.url}/put/artifact/{name}/{given['name']}"
        return {"createArtifactManifest": {"artifactManifest": {"id": f"manifest of {name}", "file": file}}}

    def CreateArtifactFiles(self, given: dict) -> dict:
        nodes = []
        for spec in given["input"]["artifactFiles"]:
            owner = {"id": spec["artifactID"]}
            node = {"id": "1", "name": spec["name"], "displayName": spec["name"], "uploadHeaders": []}
            node |= {"uploadUrl": f"{self.server.url}/put/artifact/{owner['id']}/{spec['name']}", "artifact": owner}
            nodes.append({"node": node | {"storagePath": spec["name"], "uploadMultipartUrls": None}})
        return {"createArtifactFiles": {"files": {"edges": nodes}}}

    def CommitArtifact(self, given: dict) -> dict:
        self.server.committed.add(given["artifactID"])
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": "1"}}}
