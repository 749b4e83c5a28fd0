"""A stand-in for Kaggle on this machine, for the real `kaggle` program: what it is asked, it answers as Kaggle would.

The program is pointed at it as at a proxy. How a competition behaves is set by the fields of `Competition`.
"""

import contextlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

KEY = "0123456789abcdef-planted-key"
ETAG = '"one"'


@dataclass
class Competition:
    """How a competition behaves.

    `statuses`: what each look at an entry shows, the last one for ever. `drops`: requests that get no answer, each
    once. `raw`: request -> what it answers as it is. `cut`: characters of a description that are kept. `late`: seconds
    until an entry is listed. `cap`: entries on a page at most. `pages`: how further ones are asked for. `finds`:
    whether an entry can be had by its reference. `ref`: whether the answer to a submission tells it. `holds`: what is
    given back as the submitted file; None: what was sent.
    """

    statuses: list[str] = field(default_factory=lambda: ["COMPLETE"])
    reason: str = ""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    drops: list[str] = field(default_factory=list)
    raw: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    limits: dict = field(default_factory=lambda: {"numToday": 1, "numTotal": 7, "numAllowedNow": 4})
    entries: list[dict] = field(default_factory=list)
    cut: int | None = None
    late: float = 0
    cap: int = 200
    pages: Literal["token", "number", "none"] = "token"
    finds: bool = True
    ref: bool = True
    holds: bytes | None = None

    def status(self) -> str:
        """What this look shows."""
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    def shown(self, entry: dict) -> dict:
        """An entry as Kaggle tells it; one that says itself how it stands keeps to that."""
        status = entry.get("status") or self.status()
        state = {"status": status, "publicScore": "", "privateScore": "", "errorDescription": ""}
        known = {"COMPLETE": {"publicScore": "0.93125"}, "ERROR": {"errorDescription": self.reason}}
        return state | known.get(status, {}) | {k: v for k, v in entry.items() if k not in ("listed", "data")}

    def add(self, description: str, **fields: object) -> dict:
        """A new entry, the newest."""
        entry = {"ref": 4000 + len(self.entries), "fileName": "x.csv", "date": "2026-11-21T10:00:00Z"}
        entry |= {"description": description[: self.cut], "listed": 0.0, **fields}
        self.entries.insert(0, entry)
        return entry


class Kaggle(ThreadingHTTPServer):
    """Starts at once in a thread, on a free port. `files`: path -> bytes to download; `asked`: every request's name.

    `seconds`: what its clock shows, which a test moves on.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.competitions: dict[str, Competition] = {}
        self.files: dict[str, bytes] = {}
        self.suffix = "zip"
        self.stops_after: int | None = None
        self.when_stopped: Callable[[], None] = lambda: None
        self.asked: list[str] = []
        self.seconds = 0.0
        self.sent: dict[str, bytes] = {}
        self.holds_upload = False
        self.upload_held, self.upload_left = threading.Event(), threading.Event()
        self.ranges: list[str] = []
        self.kernels: list[dict] = []
        self.authorizations: set[str] = set()
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address) -> None:
        """A client that went away is no error here."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": f"http://127.0.0.1:{self.server_address[1]}",
            "http_proxy": f"http://127.0.0.1:{self.server_address[1]}",
            "NO_PROXY": "",
            "no_proxy": "",
        }


class ServerClock:
    """The time of a stand-in, which passes only by waiting for it."""

    def __init__(self, server: Kaggle) -> None:
        self.server = server

    def now(self) -> float:
        return self.server.seconds

    def sleep(self, seconds: float) -> None:
        self.server.seconds += seconds


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Kaggle

    def log_message(self, *words) -> None:
        pass

    def answer(self, value: dict, code: int = 200) -> None:
        self.send(code, "application/json", json.dumps(value).encode())

    def refuse(self, code: int, message: str) -> None:
        self.answer({"code": code, "message": message}, code)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        method = self.path.rpartition("/")[2]
        self.server.asked.append(method)
        self.server.authorizations.add(self.headers.get("Authorization", ""))
        if method in ("GetDatasetMetadata", "DownloadDataset", "SaveKernel"):
            return getattr(self, method)(body)
        competition = self.competition(body)
        if competition is None:
            return self.refuse(404, "Not found")
        if method in competition.refusals:
            return self.refuse(*competition.refusals[method])
        if method in competition.raw:
            return self.send(*competition.raw[method])
        return getattr(self, method)(body, competition)

    def competition(self, body: dict) -> Competition | None:
        """The one that is asked about, by its name or by the reference of an entry."""
        if "competitionName" in body:
            return self.server.competitions.get(body["competitionName"])
        wanted = body.get("ref") or body.get("submissionId")
        for competition in self.server.competitions.values():
            if competition.finds and any(entry["ref"] == wanted for entry in competition.entries):
                return competition
        return None

    def send(self, code: int, kind: str, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def StartSubmissionUpload(self, body: dict, competition: Competition) -> None:
        self.answer({"token": body["fileName"], "createUrl": f"http://localhost/upload/{body['competitionName']}"})

    def do_PUT(self) -> None:
        slug = self.path.rpartition("/")[2]
        competition, size = self.server.competitions[slug], int(self.headers["Content-Length"])
        self.server.asked.append("PUT")
        if "PUT" in competition.drops:
            competition.drops.remove("PUT")
            self.rfile.read(size // 2)
            self.close_connection = True
            return None
        if self.server.holds_upload:
            return self.hold(size)
        self.server.sent[slug] = self.rfile.read(size)
        if "PUT" in competition.refusals:
            return self.refuse(*competition.refusals["PUT"])
        return self.answer({})

    def hold(self, size: int) -> None:
        """Never answer an upload, and notice when whoever sends it has gone."""
        self.server.holds_upload, self.close_connection = False, True
        self.rfile.read(size)
        self.server.upload_held.set()
        self.connection.settimeout(60)
        with contextlib.suppress(TimeoutError):
            if self.connection.recv(1) == b"":
                self.server.upload_left.set()

    def CreateSubmission(self, body: dict, competition: Competition) -> None:
        entry = competition.add(
            body["submissionDescription"],
            fileName=body["blobFileTokens"],
            listed=self.server.seconds + competition.late,
            data=self.server.sent[body["competitionName"]],
        )
        if "CreateSubmission" in competition.drops:
            competition.drops.remove("CreateSubmission")
            self.close_connection = True
            return None
        told = {"ref": entry["ref"]} if competition.ref else {}
        return self.answer({"message": "Successfully submitted to A Competition", **told})

    def ListSubmissions(self, body: dict, competition: Competition) -> None:
        listed = [entry for entry in competition.entries if entry["listed"] <= self.server.seconds]
        begin = 0
        if competition.pages == "number":
            begin = competition.cap * (body.get("page", 1) - 1)
        if competition.pages == "token" and body.get("pageToken"):
            begin = int(body["pageToken"])
        end = begin + min(competition.cap, body.get("pageSize", 20))
        more = {"nextPageToken": str(end)} if competition.pages == "token" and end < len(listed) else {}
        self.answer({**more, "submissions": [competition.shown(entry) for entry in listed[begin:end]]})

    def GetSubmission(self, body: dict, competition: Competition) -> None:
        entry = next(entry for entry in competition.entries if entry["ref"] == body["ref"])
        if entry["listed"] > self.server.seconds:
            return self.refuse(404, "Not found")
        return self.answer(competition.shown(entry))

    def DownloadSubmission(self, body: dict, competition: Competition) -> None:
        entry = next(entry for entry in competition.entries if entry["ref"] == body["submissionId"])
        held = competition.holds if competition.holds is not None else entry.get("data", b"")
        self.send(200, "text/csv", held)

    def GetSubmissionLimits(self, body: dict, competition: Competition) -> None:
        self.answer(competition.limits)

    def GetDatasetMetadata(self, body: dict) -> None:
        self.answer({"info": {"licenses": [{"name": "CC-BY-4.0"}]}})

    def SaveKernel(self, body: dict) -> None:
        self.server.kernels.append(body)
        self.answer({"versionNumber": 1, "url": f"https://www.kaggle.com/code/{body['slug']}"})

    def DownloadDataset(self, body: dict) -> None:
        self.redirect(f"{body['ownerSlug']}/{body['datasetSlug']}")

    def DownloadDataFiles(self, body: dict, competition: Competition) -> None:
        self.redirect(body["competitionName"])

    def redirect(self, name: str) -> None:
        if name not in self.server.files:
            return self.refuse(404, "Not found")
        self.send_response(302)
        self.send_header("Location", f"http://localhost/files/{name}.{self.server.suffix}")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    def do_GET(self) -> None:
        data = self.server.files[self.path.partition("/files/")[2].removesuffix(f".{self.server.suffix}")]
        wanted = self.headers.get("Range", "")
        start = int(wanted[len("bytes=") : -1]) if wanted and self.headers.get("If-Range") == ETAG else 0
        self.server.ranges.append(wanted)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", ETAG)
        self.send_header("Last-Modified", "Fri, 20 Nov 2026 10:00:00 GMT")
        self.end_headers()
        self.wfile.write(data[start : self.server.stops_after])
        if self.server.stops_after is not None:
            self.wfile.flush()
            self.server.when_stopped()
            self.server.closing.wait(30)
