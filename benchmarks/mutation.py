"""Do the tests notice when the code is wrong? Single places of it are changed, and the tests that run them are run.

    python benchmarks/mutation.py [--count 200] [--seed 0] [--packages train evaluate data] [--quick]

A mutant is one change by chance in a copy of this tree: a comparison, a number or a truth value that is another one, a
condition that is turned round, + for -, `and` for `or`, a call, a `return` or a `raise` that is left out. It is killed
when a test fails, or does not end in time. Its tests are looked for in the files of tests/unit and tests/regressions
that import its module, then in those that import what imports it, until five files have some. Which lines a test runs
is found once, by tracing it, and kept in `--map` (delete it when the code has changed); one that fails without a
mutant is not asked. Of a file's tests that run the mutant's lines so many are run as take `--budget` seconds together,
those of few other lines first, in a process that is forked from this one, which has imported torch and the other
libraries. What survives is tried once more by tests of all files that were traced before, as many as a minute takes.

Prints one JSON line, and writes the mutants that survived to `--survivors`. The tree itself is not touched. `.[test]`
is needed.
"""

import argparse
import ast
import gc
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib import import_module
from itertools import islice
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

sys.path[:] = [path for path in sys.path if Path(path) != Path(__file__).resolve().parent]
Coverage: Any = import_module("coverage").Coverage
"""Of the package of that name, and not of the benchmark beside this file."""
ROOT = Path(__file__).resolve().parents[1]
TESTS = ("tests/unit", "tests/regressions")
HEAVY = "torch chestfold.train.preload chestfold.cli.main albumentations pandas pyarrow.parquet sklearn.linear_model "
HEAVY += "cv2 pytest xdist matplotlib.figure pydantic rich.live scipy.stats PIL.Image pydicom huggingface_hub"
"""What the tests import: once, in the process that the others are forked from."""
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
ARITHMETIC: dict[type[ast.operator], ast.operator] = {
    ast.Add: ast.Sub(),
    ast.Sub: ast.Add(),
    ast.Mult: ast.Div(),
    ast.Div: ast.Mult(),
    ast.FloorDiv: ast.Mult(),
    ast.Mod: ast.FloorDiv(),
    ast.BitAnd: ast.BitOr(),
    ast.BitOr: ast.BitAnd(),
}
ENDS = {0: "survived", 5: "survived"}
"""Exit code of pytest -> what became of a mutant; any other one is a test that failed. 5: no test runs its lines."""

MOST_FILES = 5
"""Whose tests are asked about one mutant."""
MOST_LOOKED_AT = 15
"""Files that are looked at for such tests."""
LAST_SECONDS = 60
"""That further tests of all traced files take together, for a mutant that has survived those of `MOST_FILES`."""
TRACE_SECONDS = 120
"""That the tests of a file may take when they are traced; those that are not reached are not chosen."""


@dataclass(frozen=True)
class Test:
    """A test. `lines`: file in src/chestfold -> lines that it runs."""

    name: str
    seconds: float
    lines: dict[str, list[int]]

    @property
    def weight(self) -> float:
        """Small for what is quick and runs few lines."""
        return (0.05 + self.seconds) * sum(map(len, self.lines.values()))

    def runs(self, mutant: "Mutant") -> bool:
        """Whether it runs one of a mutant's lines. What runs when a module is imported is of no test: then all do."""
        lines = self.lines.get(mutant.file, [])
        return any(mutant.line <= line <= mutant.last_line for line in lines) or (
            bool(lines) and not mutant.in_function
        )


@dataclass(frozen=True)
class Mutant:
    """A change of one place of a file. `start`, `end`: of the bytes that `new` stands for; lines count from 1."""

    file: str
    start: int
    end: int
    line: int
    last_line: int
    kind: str
    old: str
    new: str
    in_function: bool
    """Whether it is in a function's body, and not in what runs when the module is imported."""

    def __str__(self) -> str:
        old, new = (" ".join(text.split())[:100] for text in (self.old, self.new))
        return f"{self.file}:{self.line}  {self.kind}: {old}  ->  {new}"


# The mutants of a file


def mutants_of(file: str, text: str) -> list[Mutant]:
    """Every change that can be made in a file."""
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    tree, data, found = ast.parse(text), text.encode(), []
    bodies: set[int] = set()
    for each in ast.walk(tree):
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            bodies |= set(range(each.body[0].lineno, (each.end_lineno or 0) + 1))
    for node, kind, new in changes(tree):
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        old = data[start:end].decode()
        found.append(Mutant(file, start, end, node.lineno, node.end_lineno, kind, old, new, node.lineno in bodies))
    return found


def changes(tree: ast.AST) -> Iterator[tuple[Any, str, str]]:
    """Each node that can be changed, the kind of change, and the text that stands for it then."""
    for node in nodes_in(tree):
        for kind, change in (("comparison", _comparison), ("constant", _constant), ("arithmetic", _arithmetic)):
            new = change(node)
            if new:
                yield node, kind, new
        if isinstance(node, ast.BoolOp):
            other = ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
            yield node, "and/or", f"({ast.unparse(other)})"
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, "negation", f"({ast.unparse(node.operand)})"
        if isinstance(node, (ast.If, ast.IfExp, ast.While)):
            yield node.test, "condition", f"(not ({ast.unparse(node.test)}))"
        yield from _left_out(node)


def nodes_in(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module but for annotations, decorators, docstrings, texts, and what is for type checkers only."""
    if isinstance(tree, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return  # the places of nodes in an f-string are not those in the file
    if isinstance(tree, ast.If) and ast.unparse(tree.test) == "TYPE_CHECKING":
        return
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from nodes_in(child)


def _comparison(node: ast.AST) -> str:
    if not isinstance(node, ast.Compare) or len(node.ops) > 1:
        return ""
    left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
    return f"({left} {COMPARISONS[type(node.ops[0])]} {right})"


def _constant(node: ast.AST) -> str:
    """A truth value turned round; a number one more, and -1 for 1."""
    if not isinstance(node, ast.Constant) or isinstance(node.value, (str, bytes, complex, type(None), type(...))):
        return ""
    if isinstance(node.value, bool):
        return str(not node.value)
    return f"({node.value} + 1)" if node.value != 1 else "(1 - 1)"


def _arithmetic(node: ast.AST) -> str:
    if not isinstance(node, ast.BinOp) or type(node.op) not in ARITHMETIC:
        return ""
    if any(isinstance(side, (ast.JoinedStr, ast.List)) or _is_text(side) for side in (node.left, node.right)):
        return ""
    return f"({ast.unparse(ast.BinOp(node.left, ARITHMETIC[type(node.op)], node.right))})"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _left_out(node: ast.AST) -> Iterator[tuple[ast.AST, str, str]]:
    """Statements that are left out."""
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield node, "return", "return None"
    if isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        yield node, "left out", "pass"
    if isinstance(node, ast.AugAssign):
        yield node, "left out", "pass"
    if isinstance(node, ast.Continue):
        yield node, "loop", "break"
    if isinstance(node, ast.Break):
        yield node, "loop", "continue"


# Which tests run a line


class Tracer:
    """A plugin of pytest: the lines of `source` that each test runs, its fixtures included, and its seconds."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._coverage = Coverage(data_file=None, include=[f"{source}/*"], messages=False)
        self._seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._began = self._all_began = 0.0
        self._session: Any = None

    def pytest_sessionstart(self, session: Any) -> None:
        """All tests of a file begin."""
        self._session, self._all_began = session, time.perf_counter()
        self._coverage.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """A test begins."""
        self._coverage.switch_context(nodeid)
        self._began = time.perf_counter()

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A part of a test has ended; what fails without a mutant says nothing about one."""
        if report.failed:
            self._failed.add(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """A test has ended."""
        now = time.perf_counter()
        self._seconds[nodeid] = round(now - self._began, 3)
        self._coverage.switch_context("")
        if now - self._all_began > TRACE_SECONDS:
            self._session.shouldstop = "the time for a file is over"

    def write(self, notes: Path) -> None:
        """Name, seconds, and file -> lines of each test."""
        self._coverage.stop()
        data = self._coverage.get_data()
        lines: dict[str, dict[str, list[int]]] = {}
        for name in self._seconds.keys() - self._failed:
            lines[name] = defaultdict(list)
        for file in data.measured_files():
            place = str(Path(file).relative_to(self._source))
            for line, names in data.contexts_by_lineno(file).items():
                for name in names:
                    if name in lines:
                        lines[name][place].append(line)
        notes.write_text(json.dumps([[name, self._seconds[name], lines[name]] for name in sorted(lines)]))


def trace(tree: Path, name: str, notes: Path) -> int:
    """Run the tests of a file, and write what each of them runs."""
    tracer = Tracer(tree / "src" / "chestfold")
    code = run_pytest(tree, [name], [tracer], first=False)
    tracer.write(notes)
    return code


class Traced:
    """What the tests of each file run, and how long each takes; kept in a file, of tests whose bytes are the same."""

    def __init__(self, tree: Path, path: Path, pattern: str) -> None:
        self._tree, self._path = tree, path
        files = sorted(file for each in TESTS for file in (tree / each).glob(pattern))
        self._files = {file.relative_to(tree).as_posix(): file.read_text() for file in files}
        self._sources = {
            path.relative_to(tree / "src" / "chestfold").as_posix(): path.read_text() for path in sources(tree)
        }
        self._known: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}

    def of(self, mutant: Mutant) -> Iterator[list[Test]]:
        """The tests that run a mutant's lines, those of one file after the other.

        `MOST_FILES` files that hold some: those that import the module come first, then those that import what imports
        it, and so on.
        """
        found = 0
        for name, text in islice(self._importers(mutant.file), MOST_LOOKED_AT):
            tests = [test for test in self._traced(name, text) if test.runs(mutant)]
            if tests:
                yield tests
                found += 1
            if found == MOST_FILES:
                return

    def known(self, mutant: Mutant) -> list[Test]:
        """The tests of all files that were traced before that run a mutant's lines."""
        found = []
        for name in sorted(self._known.keys() & self._files.keys()):
            found += [test for test in self._traced(name, self._files[name]) if test.runs(mutant)]
        return found

    def _importers(self, file: str) -> Iterator[tuple[str, str]]:
        """Name and text of the files of tests; of those that import the same, those called like the module first, or
        like its folder."""
        done: set[str] = set()
        seen, next_ones = set(), {file}
        names = (Path(file).stem, Path(file).parent.name)
        while next_ones:
            wanted = []
            for name, text in self._files.items():
                if name not in done and any(imports(text, each) for each in next_ones):
                    wanted.append(name)

            def rank(name: str) -> tuple[bool, bool, int]:
                return not any(each in name for each in names), name not in self._known, len(self._files[name])

            for name in sorted(wanted, key=rank):
                yield name, self._files[name]
            done |= set(wanted)
            seen |= next_ones
            further = set()
            for other, text in self._sources.items():
                if any(imports(text, each) for each in next_ones):
                    further.add(other)
            next_ones = further - seen

    def _traced(self, name: str, text: str) -> list[Test]:
        digest = sha256(text.encode()).hexdigest()
        if self._known.get(name, {}).get("sha256") != digest:
            notes = self._tree.parent / "traced.json"
            notes.write_text("[]")
            in_a_fork(partial(trace, self._tree, name, notes), 3 * TRACE_SECONDS)
            self._known[name] = {"sha256": digest, "tests": json.loads(notes.read_text())}
            self._path.write_text(json.dumps(self._known))
            print(f"traced {len(self._known[name]['tests'])} tests of {name}", file=sys.stderr, flush=True)
        return [Test(*about) for about in self._known[name]["tests"]]


def sources(tree: Path) -> list[Path]:
    """The modules of a tree."""
    return sorted((tree / "src" / "chestfold").rglob("*.py"))


def imports(text: str, file: str) -> bool:
    """Whether a file imports a module, or the package that it is in where that is not one of the eleven."""
    names = ["chestfold", *Path(file).with_suffix("").parts]
    if names[-1] == "__init__":
        names.pop()
    wanted = [names, names[:-1]] if len(names) > 3 else [names]
    for *packages, name in wanted:
        package = re.escape(".".join(packages))
        if re.search(rf"{package}\.{name}\b|from {package} import [^\n]*\b{name}\b", text):
            return True
    return False


def choose_tests(tests: list[Test], budget: float) -> list[str]:
    """Those that run few lines first, until the budget is spent."""
    chosen: list[str] = []
    spent = 0.0
    for test in sorted(tests, key=lambda test: test.weight):
        if chosen and spent + test.seconds > budget:
            break
        chosen.append(test.name)
        spent += test.seconds
    return chosen


# Running tests


def in_a_fork(work: Callable[[], int], seconds: float) -> int | None:
    """The exit code of what is done in a process of its own, with all that it has started; None: it did not end."""
    sys.stdout.flush()
    child = os.fork()
    if not child:
        os.setpgid(0, 0)
        code = 70
        try:
            code = work()
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            _end(child)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    _end(child)
    os.waitpid(child, 0)
    return None


def _end(group: int) -> None:
    """End the processes that a child has left."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def run_pytest(tree: Path, tests: list[str], plugins: list[Any], first: bool = True) -> int:
    """Run tests of a tree in this process, until the `first` fails; its exit code."""
    import pytest

    os.chdir(tree)
    folders = [str(tree / name) for name in ("src", "tests", "tests/e2e")]
    sys.path[:0] = folders
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    for name in list(os.environ):
        if name.startswith("CHESTFOLD_"):
            del os.environ[name]
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        base = f"--basetemp={tree.parent / 'pytest'}"
        words = ["-x"] if first else []
        words += ["-q", "-p", "no:cacheprovider", "-n", "0", "--no-header", base, *tests]
        return int(pytest.main(words, plugins=plugins))


def fate(tree: Path, mutant: Mutant, traced: Traced, budget: float) -> tuple[str, int]:
    """What becomes of a mutant, and how many tests were asked."""
    asked: list[str] = []
    for tests in traced.of(mutant):
        chosen = choose_tests(tests, budget)
        asked += chosen
        how = outcome(tree, mutant, chosen, 3 * budget + 60)
        if how != "survived":
            return how, len(asked)
    others = [test for test in traced.known(mutant) if test.name not in asked]
    if not others:
        return "survived", len(asked)
    chosen = choose_tests(others, LAST_SECONDS)
    return outcome(tree, mutant, chosen, 3 * LAST_SECONDS), len(asked) + len(chosen)


def outcome(tree: Path, mutant: Mutant, tests: list[str], seconds: float) -> str:
    """`killed`, `timeouts` or `survived`."""
    path = tree / "src" / "chestfold" / mutant.file
    whole = path.read_bytes()
    path.write_bytes(whole[: mutant.start] + mutant.new.encode() + whole[mutant.end :])
    for stale in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        stale.unlink()
    try:
        code = in_a_fork(partial(_run_mutant, tree, mutant, tests), seconds)
    finally:
        path.write_bytes(whole)
    return "timeouts" if code is None else ENDS.get(code, "killed")


def _run_mutant(tree: Path, mutant: Mutant, tests: list[str]) -> int:
    """Run tests with a mutant, which is in the tree already: what was imported is changed too, or forgotten."""
    sys.dont_write_bytecode = True  # or the next mutant would be read from that of this one
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    path = tree / "src" / "chestfold" / mutant.file
    if not (mutant.in_function and put_into_functions(path)):
        forget()
    return run_pytest(tree, tests, [])


def forget() -> None:
    """Let this package be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "chestfold"]:
        del sys.modules[name]


def put_into_functions(path: Path) -> bool:
    """Give the functions of an imported module the code that its file has now; False where it has others."""
    codes: dict[str, list[CodeType]] = defaultdict(list)
    for code in codes_in(compile(path.read_text(), str(path), "exec")):
        codes[code.co_qualname].append(code)
    functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
    for function in functions:
        if function.__code__.co_filename == str(path):
            found = codes[function.__code__.co_qualname]
            if len(found) != 1 or found[0].co_freevars != function.__code__.co_freevars:
                return False
            function.__code__ = found[0]
    return True


def codes_in(code: CodeType) -> Iterator[CodeType]:
    """The code of each function in a module's, however deep."""
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from codes_in(each)


def copy_tree(work: Path) -> Path:
    """A copy of the files of this tree that git knows, and of new tests."""
    tree = work / "tree"
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    return tree


def sample(tree: Path, packages: list[str], count: int, seed: int) -> list[Mutant]:
    """Some of all mutants of packages, each of different lines."""
    every = []
    for package in packages:
        for path in sorted((tree / "src" / "chestfold").glob(f"{package}/**/*.py" if "." not in package else package)):
            file = path.relative_to(tree / "src" / "chestfold").as_posix()
            every += mutants_of(file, path.read_text())
    random.Random(seed).shuffle(every)
    chosen: dict[tuple[str, int], Mutant] = {}
    for mutant in every:
        chosen.setdefault((mutant.file, mutant.line), mutant)
    return list(chosen.values())[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200, help="of mutants [200]")
    parser.add_argument("--seed", type=int, default=0, help="of their choice [0]")
    parser.add_argument("--packages", nargs="+", default=["train", "evaluate", "data"], metavar="PACKAGE")
    parser.add_argument("--budget", type=float, default=20, help="seconds that a mutant's tests take together [20]")
    parser.add_argument("--map", type=Path, default=Path(tempfile.gettempdir()) / "mutation-map.json", metavar="FILE")
    parser.add_argument("--seconds", type=float, default=7200, help="for mutants in this call [7200]")
    parser.add_argument("--survivors", type=Path, default=Path("survivors.txt"), metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="one mutant of one small module: does it run at all")
    arguments = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = work_in(Path(folder).resolve(), arguments)
    print(json.dumps(counts | {"seconds": round(time.perf_counter() - began)}))


def work_in(work: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the copy, trace the tests, run the mutants."""
    tree = copy_tree(work)
    forget()
    sys.path[:0] = [str(tree / "src")]
    for name in HEAVY.split():
        __import__(name)
    packages, count, kept = arguments.packages, arguments.count, arguments.map
    if arguments.quick:
        packages, count, kept = ["data/transforms/mixup.py"], 1, work / "map.json"
    traced = Traced(tree, kept, "test_mixup.py" if arguments.quick else "test_*.py")
    counts = {"mutants": 0, "killed": 0, "survived": 0, "timeouts": 0}
    lines = []
    end = time.perf_counter() + arguments.seconds
    for mutant in sample(tree, packages, count, arguments.seed):
        if time.perf_counter() > end:
            break
        how, tests = fate(tree, mutant, traced, arguments.budget)
        counts["mutants"] += 1
        counts[how] += 1
        print(f"{how:9} {tests:3} tests  {mutant}", file=sys.stderr, flush=True)
        if how == "survived":
            lines.append(f"{mutant}  ({tests} tests)")
            arguments.survivors.write_text("\n".join(lines) + "\n")
    noticed = counts["killed"] + counts["timeouts"]
    return counts | {"share": round(noticed / max(1, counts["mutants"]), 3)}


if __name__ == "__main__":
    main()
