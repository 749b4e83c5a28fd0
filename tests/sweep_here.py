"""A cluster of this process alone, for a sweep without Ray: a cell is trained where it is handed out."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from chestfold.core.identity import host
from chestfold.integrations.cluster import Ended, Event, Node, Place, Task
from chestfold.train.cell import Order, outcome


class Here:
    """Stands in for `cluster.Cluster`."""

    def nodes(self) -> list[Node]:
        return [Node("here", host(), 1.0, 0.0)]

    def submit(self, _work: Any, order: Order, *_: Any) -> Task:
        return Task(_events(order))

    def poll(self, tasks: list[Task], _seconds: float) -> list[tuple[Task, Event]]:
        return [(tasks[0], next(tasks[0].messages, Ended()))]


def _events(order: Order) -> Iterator[Event]:
    yield Place(host(), os.getpid(), "here")
    yield outcome(order, lambda message: None)


@contextmanager
def connected(*_: Any) -> Iterator[Here]:
    """What `cluster.connected` does."""
    yield Here()
