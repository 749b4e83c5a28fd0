"""Ray: work on the processors of one machine or of many. Nothing else here knows it.

Ray says where work runs and whether it still does. What the work is, and what becomes of work that was lost, its caller
decides.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from chestfold.core.console import Message
from chestfold.core.errors import InputError
from chestfold.core.extras import require
from chestfold.core.identity import host
from chestfold.core.processes import end_with_parent

OBJECT_STORE = 100 * 2**20
"""Bytes of shared memory of a Ray that is started here: messages, and files on their way back."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray sends no telemetry, and prints none of its lines between ours: what was lost is said here."""

Work = Callable[[Any], Iterator[Message]]


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, and what it lends."""

    id: str
    host: str
    cpus: float
    gpus: float


@dataclass(frozen=True)
class Place:
    """Where work has begun."""

    host: str
    pid: int
    node: str


@dataclass(frozen=True)
class Lost:
    """The process or the machine that worked is gone; `cause` in words."""

    cause: str


@dataclass(frozen=True)
class Ended:
    """The work has ended by itself."""


Event = Place | Lost | Ended | Message
"""What is heard of work: where it began, what it has sent, and how it came to an end."""


@dataclass(eq=False)
class Task:
    """Work that was handed in. `messages`: Ray's generator of references."""

    messages: Any


class Cluster:
    """The machines that are connected."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        remote = ray.remote(num_returns="streaming", max_retries=0, max_calls=0)
        self._run = remote(_run)

    def nodes(self) -> list[Node]:
        """Those that are alive."""
        found = []
        for node in self._ray.nodes():
            if node["Alive"]:
                lends = node["Resources"]
                name = node["NodeManagerHostname"]
                found.append(Node(node["NodeID"], name, lends.get("CPU", 0.0), lends.get("GPU", 0.0)))
        return found

    def submit(self, work: Work, given: Any, cpus: int, gpus: float, avoid: Iterable[str] = ()) -> Task:
        """Let `work(given)` run, which yields messages, in a process of a node that is not one of `avoid`."""
        options: dict[str, Any] = {"num_cpus": cpus, "num_gpus": gpus}
        avoided = ",".join(sorted(avoid))
        if avoided:
            options["label_selector"] = {"ray.io/node-id": f"!in({avoided})"}
        return Task(self._run.options(**options).remote(work, given))

    def poll(self, tasks: Sequence[Task], seconds: float) -> list[tuple[Task, Event]]:
        """What has been heard of the tasks, at most one thing of each; waits for `seconds` where it is nothing yet."""
        by_generator = {id(task.messages): task for task in tasks}
        generators = [task.messages for task in tasks]
        ready, _ = self._ray.wait(generators, num_returns=1, timeout=seconds, fetch_local=False)
        if ready:  # all that are ready by now
            ready, _ = self._ray.wait(generators, num_returns=len(generators), timeout=0, fetch_local=False)
        return [(by_generator[id(generator)], self._next(generator)) for generator in ready]

    def _next(self, generator: Any) -> Event:
        errors = self._ray.exceptions
        try:
            return self._ray.get(next(generator))
        except StopIteration:
            return Ended()
        except errors.RayTaskError as error:  # the work itself has raised
            last = str(error).strip().splitlines()[-1]
            return ("failed", f"it could not be begun there ({last}); is the same chestfold installed there?")
        except errors.RayError as error:
            words = {errors.WorkerCrashedError: "its worker process was ended", errors.OutOfMemoryError: "no memory"}
            return Lost(words.get(type(error), "its node is gone"))


def _run(work: Work, given: Any) -> Iterator[Event]:
    """In a worker process: say where, then work."""
    import ray

    raylet = os.environ.get("RAY_RAYLET_PID", "")
    if raylet == str(os.getppid()):
        end_with_parent(int(raylet))
    yield Place(host(), os.getpid(), ray.get_runtime_context().get_node_id())
    yield from work(given)


@contextmanager
def connected(address: str | None, cpus: int = 0) -> Iterator[Cluster]:
    """A cluster: that at `address` ("auto": the one that this machine belongs to), or one of this machine alone.

    Args:
        address: HOST:PORT, or auto; None: Ray is started here, and ends with this process.
        cpus: that a Ray of this machine lends.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    require("ray", "cluster", "train each experiment by its own file")
    os.environ.update(QUIET)  # read when Ray is imported
    import ray

    options: dict[str, Any] = {"address": address}
    if address is None:
        options = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
        options["address"] = "local"
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(
            f"--address {address}: no Ray cluster can be used ({first}); start one with `ray start --head`, or train "
            "on this machine with --local"
        ) from error
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()
