"""What a disk may hold after a power cut: every state that the writes, syncs and renames of a command allow.

A `Recorder` notes what a command does to a folder, by Python's audit events and by looking at the folder before each of
them. From its trace `crash_states` makes the states that a file system may be in when the power fails:

- a file's bytes are sure only after an fsync of the file; before it, any version that was written may be there, or a
  part of it, or zeros;
- an entry of a folder (created, renamed, deleted) is sure only after an fsync of the folder; entries that are not sure
  may be there or not, in any combination;
- so a rename may be there whose file is empty, and a deletion may be there before one that was made earlier.

This is what POSIX promises, less than what ext4 or XFS keep.
"""

import hashlib
import itertools
import math
import os
import random
import re
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = 0
"""Number of the folder that is recorded."""
TEMPORARY = re.compile(r"\.(.+)\.\d+(-[0-9a-f]+)?\.(tmp|old)")
"""A file or a folder that is being written; its number is that of the process."""
EXPENDABLE = re.compile(r"log\.txt|report\.html|\..*lock|.*\.lock|\.writers\.log")
"""What nobody reads back; a page is drawn again from the files."""
EVERYTHING = Path("everything")
"""What `os.sync` syncs, for `Recorder.forgets`."""
ANOTHER_PROCESS = 4194305
"""Number of the process that died: more than Linux gives."""

_STARTED = re.compile(rb'"started":"[^"]*"')

Tree = dict[str, str | None]
"""Path below the root -> digest of the file's bytes, None for a folder."""


@dataclass(frozen=True)
class Data:
    """A file holds these bytes now."""

    node: int
    digest: str


@dataclass(frozen=True)
class Names:
    """One change of entries: (folder, name, what is there now), all or none of them."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True)
class Sync:
    """An fsync of a file or a folder; of everything where `node` is None."""

    node: int | None


@dataclass(frozen=True)
class Mark:
    """Something was said to be done: what was written before must outlive a power cut."""

    what: str


Event = Data | Names | Sync | Mark


@dataclass
class Disk:
    """What is sure, and what is not yet. `folders`: number -> entries; `bytes`: number -> digest."""

    folders: dict[int, dict[str, int]]
    bytes: dict[int, str]
    renamed: list[Names] = field(default_factory=list)
    written: dict[int, list[str]] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Let an event happen."""
        if isinstance(event, Data):
            self.written.setdefault(event.node, []).append(event.digest)
        elif isinstance(event, Names):
            self.renamed.append(event)
        elif isinstance(event, Sync):
            self._sync(event.node)

    def _sync(self, node: int | None) -> None:
        for number in [node] if node is not None else list(self.written):
            versions = self.written.pop(number, [])
            if versions:
                self.bytes[number] = versions[-1]
        waiting = []
        for names in self.renamed:
            if node is None or any(folder == node for folder, _, _ in names.changes):
                _apply(self.folders, names)
            else:
                waiting.append(names)
        self.renamed = waiting

    def tree(self, applied: Sequence[bool], versions: dict[int, str]) -> Tree:
        """The state in which these changes of entries and these bytes are on the disk."""
        folders = {number: dict(entries) for number, entries in self.folders.items()}
        for names, is_there in zip(self.renamed, applied, strict=True):
            if is_there:
                _apply(folders, names)
        kinds = self.bytes | versions
        return dict(_walk(folders, kinds, ROOT, ""))

    def surest(self) -> Tree:
        """The state in which nothing is there that is not sure."""
        return self.tree([False] * len(self.renamed), {})

    def newest(self) -> Tree:
        """The state in which all is there: that of a killed process, without a power cut."""
        return self.tree([True] * len(self.renamed), {node: found[-1] for node, found in self.written.items()})


def _apply(folders: dict[int, dict[str, int]], names: Names) -> None:
    for folder, name, node in names.changes:
        entries = folders.setdefault(folder, {})
        if node is None:
            entries.pop(name, None)
        else:
            entries[name] = node


def _walk(
    folders: dict[int, dict[str, int]], kinds: dict[int, str], number: int, place: str
) -> Iterator[tuple[str, str | None]]:
    for name, node in sorted(folders.get(number, {}).items()):
        path = f"{place}{name}"
        if node < 0:
            yield path, None
            yield from _walk(folders, kinds, node, path + "/")
        else:
            yield path, kinds.get(node, EMPTY)


class Trace:
    """What happened in a folder: `base` before it, `events` in order, `blobs`: digest -> bytes."""

    def __init__(self) -> None:
        self.base = Disk({ROOT: {}}, {})
        self.events: list[Event] = []
        self.blobs: dict[str, bytes] = {}
        self.keep(b"")

    def keep(self, data: bytes) -> str:
        """The digest of bytes that are needed later."""
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return digest

    def start(self) -> Disk:
        """The disk before the first event."""
        return Disk({number: dict(entries) for number, entries in self.base.folders.items()}, dict(self.base.bytes))

    def torn(self, digest: str) -> list[str]:
        """What may be there of bytes that were not synced: nothing, half of them, half of them and zeros, zeros."""
        data = self.blobs[digest]
        half = data[: len(data) // 2]
        parts = [b"", half, half + bytes(len(data) - len(half)), bytes(len(data))]
        return [self.keep(part) for part in parts]


EMPTY = hashlib.sha256(b"").hexdigest()
_recorder: "Recorder | None" = None
_is_listening = False


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    recorder = _recorder
    if recorder is not None:
        recorder.hear(event, arguments)


class Recorder:
    """Notes what happens below `root` while it is open.

    Args:
        root: an existing folder.
        forgets: fsyncs that are left out, by the path that is synced: what a mistake in the program would do.
    """

    def __init__(self, root: Path, forgets: Callable[[Path], bool] = lambda _: False) -> None:
        self.root = str(root)
        self.forgets = forgets
        self.trace = Trace()
        self._known: dict[str, tuple[int, tuple[int, ...]]] = {"": (ROOT, ())}
        self._numbers = itertools.count(1)
        self._busy = threading.local()
        self._lock = threading.RLock()

    def __enter__(self) -> "Recorder":
        global _recorder, _is_listening
        self._look()
        self.trace.base = self._settled()
        self.trace.events.clear()
        self._syncs = {name: getattr(os, name) for name in ("fsync", "fdatasync", "sync")}
        for name in ("fsync", "fdatasync"):
            setattr(os, name, self._fsync)
        setattr(os, "sync", self._sync)  # noqa: B010
        if not _is_listening:
            sys.addaudithook(_listen)  # for the rest of this process
            _is_listening = True
        _recorder = self
        return self

    def __exit__(self, *_: object) -> None:
        global _recorder
        _recorder = None
        for name, function in self._syncs.items():
            setattr(os, name, function)
        self._look()

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit event, which comes before what it tells of."""
        if getattr(self._busy, "now", False):
            return
        if event == "open" and not _writes(arguments[2]):
            return
        if event not in ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate"):
            return
        with self._lock:
            self._look()
            if event == "os.rename":
                self._rename(*arguments)
            elif event in ("os.remove", "os.rmdir"):
                self._remove(*arguments)

    def note(self, event: Event) -> None:
        """Add what no audit event tells of."""
        with self._lock:
            self._look()
            self.trace.events.append(event)

    def _fsync(self, descriptor: int) -> None:
        with self._lock:
            self._look()
            path = self._silently(lambda: Path(f"/proc/self/fd/{descriptor}").readlink())
            place = self._place(path)
            if place is None or place not in self._known or self.forgets(path):
                return
            node = self._known[place][0]
            if node > 0:
                self._read(place, node)
            self.trace.events.append(Sync(node))

    def _sync(self) -> None:
        if not self.forgets(EVERYTHING):
            self.note(Sync(None))

    def _settled(self) -> Disk:
        """All that is there, as sure."""
        disk = Disk({ROOT: {}}, {})
        for event in self.trace.events:
            disk.add(event)
        disk.add(Sync(None))
        return disk

    def _silently(self, work: Callable[[], Any]) -> Any:
        self._busy.now = True
        try:
            return work()
        finally:
            self._busy.now = False

    def _place(self, path: Any, folder: int = -1) -> str | None:
        """A path below the root; None where it is elsewhere."""
        there = Path(os.fsdecode(path))
        if folder != -1:
            there = self._silently(lambda: Path(f"/proc/self/fd/{folder}").readlink()) / there
        there = Path.cwd() / there
        if not there.is_relative_to(self.root):
            return None
        place = str(there.relative_to(self.root))
        return "" if place == "." else place

    def _split(self, place: str) -> tuple[int, str]:
        folder, _, name = place.rpartition("/")
        return self._known[folder][0], name

    def _rename(self, source: Any, target: Any, source_folder: int, target_folder: int) -> None:
        old, new = self._place(source, source_folder), self._place(target, target_folder)
        if old is None or new is None or old not in self._known:
            return
        node = self._known[old][0]
        gone, there = (*self._split(old), None), (*self._split(new), node)
        self.trace.events.append(Names((gone, there)))
        for place in [place for place in self._known if place == new or place.startswith(new + "/")]:
            del self._known[place]
        for place in [place for place in self._known if place == old or place.startswith(old + "/")]:
            self._known[new + place[len(old) :]] = self._known.pop(place)

    def _remove(self, path: Any, folder: int) -> None:
        place = self._place(path, folder)
        if place is not None and place in self._known:
            self.trace.events.append(Names(((*self._split(place), None),)))
            del self._known[place]

    def _look(self) -> None:
        """Note what has appeared, changed or vanished since the last look."""
        with self._lock:
            self._silently(lambda: self._look_at("", self.root))

    def _look_at(self, place: str, path: str) -> None:
        found = set()
        for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
            below = f"{place}/{entry.name}" if place else entry.name
            found.add(below)
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            is_folder = stat.S_ISDIR(status.st_mode)
            self._look_at_entry(below, status, is_folder)
            if is_folder:
                self._look_at(below, entry.path)
        depth = place.count("/") + 1 if place else 0
        inside = [known for known in self._known if known and known.count("/") == depth]
        for known in inside:
            if known.rpartition("/")[0] == place and known not in found:
                self.trace.events.append(Names(((*self._split(known), None),)))
                del self._known[known]

    def _look_at_entry(self, place: str, status: os.stat_result, is_folder: bool) -> None:
        seen = (status.st_ino,) if is_folder else (status.st_ino, status.st_size, status.st_mtime_ns)
        node, before = self._known.get(place, (0, ()))
        if before == seen:
            return
        if before[:1] != seen[:1]:
            node = -next(self._numbers) if is_folder else next(self._numbers)
            self.trace.events.append(Names(((*self._split(place), node),)))
        self._known[place] = (node, seen)
        if not is_folder:
            self._read(place, node)

    def _read(self, place: str, node: int) -> None:
        data = self._silently(lambda: Path(self.root, place).read_bytes())
        digest = self.trace.keep(data)
        last = next((e.digest for e in reversed(self.trace.events) if isinstance(e, Data) and e.node == node), None)
        if (last or self.trace.base.bytes.get(node, EMPTY)) != digest:
            self.trace.events.append(Data(node, digest))


def is_recording() -> bool:
    """Whether a `Recorder` is open."""
    return _recorder is not None


def mark(what: str) -> None:
    """Note that something is said to be done, where that is recorded."""
    if _recorder is not None:
        _recorder.note(Mark(what))


def _writes(flags: Any) -> bool:
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))


# The states


@dataclass(frozen=True)
class State:
    """A state of the disk after `after` events. `is_killed`: that of a killed process, without a power cut."""

    after: int
    tree: Tree
    is_killed: bool = False

    def seen(self) -> frozenset[tuple[str, str | None]]:
        """What a program can tell it by: not the bytes of what nobody reads."""
        kept = []
        for path, digest in self.tree.items():
            name = path.rpartition("/")[2]
            if not EXPENDABLE.fullmatch(name):
                kept.append((path, "" if TEMPORARY.fullmatch(name) and digest else digest))
        return frozenset(kept)


def crash_states(trace: Trace, seed: int, at_once: int = 48) -> list[State]:
    """Different states in which a power cut may leave the folder; after each event at most `at_once`, by chance."""
    disk = trace.start()
    found: dict[frozenset[tuple[str, str | None]], State] = {}
    for number in range(len(trace.events) + 1):
        if number:
            disk.add(trace.events[number - 1])
        if number and isinstance(trace.events[number - 1], Sync | Mark):
            continue  # which leaves fewer states than there were before it
        for state in _states_now(trace, disk, number, random.Random(f"{seed} {number}"), at_once):
            found.setdefault(state.seen(), state)
    return list(found.values())


def _states_now(trace: Trace, disk: Disk, number: int, rng: random.Random, at_once: int) -> Iterator[State]:
    yield State(number, disk.newest(), is_killed=True)
    yield State(number, disk.surest())
    options: list[list[str | None]] = []
    for versions in disk.written.values():
        options.append([None, *versions, *trace.torn(versions[-1])])
    switches: list[list[bool]] = [[False, True]] * len(disk.renamed)
    count = 2 ** len(switches) * math.prod(len(choices) for choices in options)
    combined: Iterator[tuple[Any, ...]] = itertools.product(*options, *switches)
    if count > at_once:
        combined = _draws(options, switches, rng, at_once)
    for chosen in combined:
        parts = zip(disk.written, chosen, strict=False)
        there = {node: digest for node, digest in parts if digest is not None}
        yield State(number, disk.tree(chosen[len(options) :], there))


def _draws(
    options: list[list[str | None]], switches: list[list[bool]], rng: random.Random, count: int
) -> Iterator[tuple[Any, ...]]:
    """Combinations by chance; in half of them all entries are there but one, or none but one."""
    for n in range(count):
        entries = [rng.random() < 0.5 for _ in switches]
        if switches and n % 2:
            odd = rng.randrange(len(switches))
            entries = [(place == odd) == (n % 4 == 1) for place in range(len(switches))]
        yield (*(rng.choice(choices) for choices in options), *entries)


def lost(trace: Trace) -> list[str]:
    """Paths whose files a power cut may take although they were said to be done, at a mark or at the end."""
    disk = trace.start()
    found: dict[str, None] = {}
    for event in [*trace.events, Mark("the end")]:
        disk.add(event)
        if not isinstance(event, Mark):
            continue
        sure = disk.surest()
        for path, digest in disk.newest().items():
            name = path.rpartition("/")[2]
            is_read = not (EXPENDABLE.fullmatch(name) or TEMPORARY.fullmatch(name) or _is_writer(name))
            if is_read and digest is not None and sure.get(path, "") != digest:
                found[path] = None
    return list(found)


def restore(root: Path, tree: Tree, blobs: dict[str, bytes]) -> None:
    """Make `root` what a state says, as a process finds it that begins then: temporary files are of another one."""
    for path in root.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for place, digest in tree.items():
        path = root / "/".join(_of_another_process(part) for part in place.split("/"))
        if digest is None:
            path.mkdir()
        else:
            data = blobs[digest]
            path.write_bytes(_STARTED.sub(b'"started":"long ago"', data) if _is_writer(path.name) else data)


def _is_writer(name: str) -> bool:
    """Whether a file says which process works in its folder: that process is gone, but this one is not."""
    return name.startswith(".writer-")


def _of_another_process(name: str) -> str:
    match = TEMPORARY.fullmatch(name)
    return f".{match[1]}.{ANOTHER_PROCESS}{match[2] or ''}.{match[3]}" if match else name
