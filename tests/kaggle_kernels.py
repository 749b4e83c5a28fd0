"""The stand-in for Kaggle with data sets and kernels: what `chestfold kernel --send` asks for.

Its clock is the server's `seconds`, which a test moves on: a data set and a kernel take their time by it.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from kaggle_server import Handler, Kaggle

SERVICES = ("DatasetApiService", "KernelsApiService", "BlobApiService")


@dataclass
class Version:
    """Of a data set or a kernel. `content`: names of files, or a script; `due`: when it is ready."""

    content: object
    due: float
    body: dict = field(default_factory=dict)


@dataclass
class KernelPlan:
    """How kernels end. `log`: from a script to what it prints; `answers`: its submission.csv, None: it writes none.

    `lags`: while a version runs, the end of the one before is told.
    """

    status: str = "COMPLETE"
    message: str = ""
    log: Callable[[str], str] = lambda script: "\n".join(line for line in named(script))
    answers: bytes | None = b"id,ill\nx000,0.1\nx001,0.9\n"
    lags: bool = False


def named(script: str) -> list[str]:
    """The first line that a script prints."""
    values = {}
    for line in script.splitlines():
        name, _, value = line.partition(" = ")
        if name in ("CONTENTS", "COMPETITION"):
            values[name] = value.strip('"')
    return [f"{values['CONTENTS']} for {values['COMPETITION']}"] if values else []


class KaggleWithKernels(Kaggle):
    """`seconds_for`: part -> seconds until it is ready; `lost`: requests whose answer is lost, each once.

    `broken_at`: bytes after which the next upload of a file breaks off; `denied`: request -> code and words.
    """

    def __init__(self) -> None:
        super().__init__()
        self.RequestHandlerClass = KernelHandler
        self.datasets: dict[str, list[Version]] = {}
        self.notebooks: dict[str, list[Version]] = {}
        self.blobs: dict[str, dict] = {}
        self.plan = KernelPlan()
        self.seconds_for = {"dataset": 0.0, "kernel": 0.0, "listing": 0.0}
        self.lost: list[str] = []
        self.denied: dict[str, tuple[int, str]] = {}
        self.broken_at: int | None = None

    def made(self) -> tuple[int, int, int]:
        """How many versions of data sets and kernels, and how many entries there are."""
        entries = sum(len(competition.entries) for competition in self.competitions.values())
        return sum(map(len, self.datasets.values())), sum(map(len, self.notebooks.values())), entries


class KernelHandler(Handler):
    server: KaggleWithKernels

    def do_POST(self) -> None:
        service, method = self.path.split("/")[-2:]
        of_kernels = service.rpartition(".")[2] in SERVICES and method not in ("GetDatasetMetadata", "DownloadDataset")
        if not of_kernels and method != "CreateCodeSubmission":
            return super().do_POST()
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        self.server.asked.append(method)
        if method in self.server.denied:
            return self.refuse(*self.server.denied[method])
        return getattr(self, method)(body)

    def tell(self, method: str, value: dict) -> None:
        """Answer, unless this answer is to be lost."""
        if method in self.server.lost:
            self.server.lost.remove(method)
            self.close_connection = True
            return
        self.answer(value)

    # Files

    def StartBlobUpload(self, body: dict) -> None:
        token = f"blob{len(self.server.blobs)}"
        self.server.blobs[token] = {"name": body["name"], "size": body["contentLength"], "data": b""}
        self.answer({"token": token, "createUrl": f"http://localhost/blob/{token}"})

    def do_PUT(self) -> None:
        if "/blob/" not in self.path:
            return super().do_PUT()
        blob, size = self.server.blobs[self.path.rpartition("/")[2]], int(self.headers["Content-Length"])
        self.server.asked.append("PUT blob")
        span = self.headers.get("Content-Range", "")
        if span.startswith("bytes */"):
            return self.tell_received(blob)
        begin = int(span.removeprefix("bytes ").partition("-")[0]) if span else 0
        assert begin == len(blob["data"]), "an upload went on elsewhere than it broke off"
        if self.server.broken_at is not None:
            blob["data"] += self.rfile.read(min(self.server.broken_at, size))
            self.server.broken_at, self.close_connection = None, True
            return None
        blob["data"] += self.rfile.read(size)
        return self.answer({})

    def tell_received(self, blob: dict) -> None:
        if len(blob["data"]) == blob["size"]:
            return self.answer({})
        self.send_response(308)
        if blob["data"]:
            self.send_header("Range", f"bytes=0-{len(blob['data']) - 1}")
        self.send_header("Content-Length", "0")
        return self.end_headers()

    # Data sets

    def CreateDataset(self, body: dict) -> None:
        assert body["isPrivate"]
        identity = f"{body['ownerSlug']}/{body['slug']}"
        if identity in self.server.datasets:
            return self.answer({"status": "error", "error": f"The title {body['title']} is already in use"})
        self.server.datasets[identity] = []
        return self.add_version("CreateDataset", identity, body["files"])

    def CreateDatasetVersion(self, body: dict) -> None:
        identity = f"{body['ownerSlug']}/{body['datasetSlug']}"
        self.add_version("CreateDatasetVersion", identity, body["body"]["files"], body["body"])

    def add_version(self, method: str, identity: str, files: list[dict], body: dict | None = None) -> None:
        blobs = [self.server.blobs[file["token"]] for file in files]
        assert all(len(blob["data"]) == blob["size"] for blob in blobs), "a file is not whole"
        due = self.server.seconds + self.server.seconds_for["dataset"]
        self.server.datasets[identity].append(Version({blob["name"]: blob["data"] for blob in blobs}, due, body or {}))
        self.tell(method, {"status": "ok", "url": f"https://www.kaggle.com/datasets/{identity}"})

    def dataset(self, body: dict) -> list[Version]:
        """The versions of a data set that are listed."""
        versions = self.server.datasets.get(f"{body['ownerSlug']}/{body['datasetSlug']}", [])
        late = self.server.seconds_for["listing"]
        wait = self.server.seconds_for["dataset"]
        return [version for version in versions if version.due - wait + late <= self.server.seconds]

    def GetDataset(self, body: dict) -> None:
        versions = self.dataset(body)
        if not versions:
            return self.refuse(403, "Permission 'datasets.get' was denied")
        return self.answer({"currentVersionNumber": len(versions)})

    def GetDatasetStatus(self, body: dict) -> None:
        versions = self.dataset(body)
        if not versions:
            return self.refuse(403, "Permission 'datasets.get' was denied")
        return self.answer({"status": "ready" if versions[-1].due <= self.server.seconds else "blobs_received"})

    def ListDatasetFiles(self, body: dict) -> None:
        ready = [version for version in self.dataset(body) if version.due <= self.server.seconds]
        if not ready:
            return self.refuse(404, "Not found")
        names, begin = sorted(ready[-1].content), int(body.get("pageToken") or 0)
        more = {"nextPageToken": str(begin + 5)} if begin + 5 < len(names) else {}
        return self.answer({"datasetFiles": [{"name": name} for name in names[begin : begin + 5]]} | more)

    # Kernels

    def SaveKernel(self, body: dict) -> None:
        self.server.kernels.append(body)
        versions = self.server.notebooks.setdefault(body["slug"], [])
        versions.append(Version(body["text"], self.server.seconds + self.server.seconds_for["kernel"], body))
        unknown = [name for name in body["datasetDataSources"] if name not in self.server.datasets]
        told = {"versionNumber": len(versions), "url": f"https://www.kaggle.com/code/{body['slug']}"}
        self.tell("SaveKernel", told | {"invalidDatasetSources": unknown})

    def notebook(self, body: dict) -> list[Version]:
        return self.server.notebooks.get(f"{body['userName']}/{body['kernelSlug']}", [])

    def GetKernel(self, body: dict) -> None:
        versions, late = self.notebook(body), self.server.seconds_for["listing"]
        wait = self.server.seconds_for["kernel"]
        versions = [version for version in versions if version.due - wait + late <= self.server.seconds]
        if not versions:
            return self.refuse(403, "Permission 'kernels.get' was denied")
        text = f"{versions[-1].content}\n"
        return self.answer({"metadata": {"currentVersionNumber": len(versions)}, "blob": {"source": text}})

    def ended(self, body: dict) -> Version | None:
        """The newest version whose session has ended."""
        done = [version for version in self.notebook(body) if version.due <= self.server.seconds]
        return done[-1] if done else None

    def GetKernelSessionStatus(self, body: dict) -> None:
        newest = self.notebook(body)[-1]
        if newest.due > self.server.seconds and not (self.server.plan.lags and self.ended(body)):
            return self.answer({"status": "RUNNING"})
        plan = self.server.plan
        return self.answer({"status": plan.status, "failureMessage": plan.message})

    def ListKernelSessionOutput(self, body: dict) -> None:
        version, plan = self.ended(body), self.server.plan
        if version is None:
            return self.answer({})
        printed = [{"stream_name": "stdout", "time": 1, "data": f"{plan.log(str(version.content))}\n"}]
        files = [{"fileName": "other.txt", "url": "http://localhost/none"}]
        if plan.answers is not None and plan.status == "COMPLETE":
            files.append({"fileName": "submission.csv", "url": "http://localhost/output"})
        return self.answer({"log": json.dumps(printed), "files": files})

    def do_GET(self) -> None:
        if self.path.endswith("/output"):
            return self.send(200, "text/csv", self.server.plan.answers or b"")
        return super().do_GET()

    def CreateCodeSubmission(self, body: dict) -> None:
        competition = self.server.competitions[body["competitionName"]]
        versions = self.server.notebooks.get(f"{body['kernelOwner']}/{body['kernelSlug']}", [])
        if not 0 < body["kernelVersion"] <= len(versions):
            return self.refuse(404, "Kernel version not found")
        about = {
            "fileName": body["fileName"],
            "kernel": [body["kernelOwner"], body["kernelSlug"], body["kernelVersion"]],
        }
        late = {"listed": self.server.seconds + competition.late}
        entry = competition.add(body["submissionDescription"], **about, **late)
        return self.tell("CreateCodeSubmission", {"message": "Successfully submitted", "ref": entry["ref"]})
