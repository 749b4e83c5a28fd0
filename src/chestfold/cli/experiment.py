"""The command line of an experiment file: every setting is an option, typed by its field."""

import ast
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from chestfold.cli.parser import Parser, add_device
from chestfold.core.config import (
    SECTIONS,
    Experiment,
    Request,
    debug_settings,
    difference,
    field_types,
    is_list,
    parse_option,
    settings_of,
    takes_several,
)
from chestfold.core.console import fail, plural, say, waiting
from chestfold.core.device import choose_device, choose_workers
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import folds_dir, read_json
from chestfold.core.memory import collect_rarely, keep_freed
from chestfold.core.run_folder import FULL, FULL_FOLDER, RunFolder
from chestfold.integrations.tracker import TRACKERS, open_tracker
from chestfold.integrations.wandb import sweep

if TYPE_CHECKING:
    from chestfold.evaluate.results import Result
    from chestfold.train.loop import OnEpoch


@dataclass(frozen=True)
class Command:
    """What was typed after `python exps/expNNN.py`.

    `wandb`: the mode; None: that of the environment. `jobs`, `threads`: 0: chosen for this machine. `workers`,
    `device`: None: chosen for this machine, too. `seeds`: the runs of several seeds, whose blend has the name of the
    request.
    """

    request: Request
    tracker: str = "wandb"
    wandb: str | None = None
    jobs: int = 0
    threads: int = 0
    workers: int | None = None
    device: str | None = None
    seeds: tuple[Request, ...] = ()

    def of_seeds(self) -> "list[Command]":
        """A command for the run of each of several seeds."""
        return [replace(self, request=request, seeds=()) for request in self.seeds]


def main(exp: Experiment) -> None:
    """Read the command line and run it; exit code 2 and one sentence when something is wrong."""
    collect_rarely()
    try:
        refuse_import()
        command = read_command(exp)
        sweep.choose_shown(command.request.name, () if command.seeds else command.request.folds)
        keep_freed()
        run_command(command)
    except ChestfoldError as error:
        fail(error)
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command to resume from the last checkpoint", file=sys.stderr)
        raise SystemExit(130) from None


def refuse_import() -> None:
    """Refuse a script that calls `run(EXP)` whenever it is imported, as the processes that train its folds import it.

    Raises:
        InputError: this is such a process, which is importing the script.
    """
    script = sys.modules.get("__mp_main__")
    if script is not None and script.__name__ == "__mp_main__":  # "__main__" in the process that was called
        raise InputError(
            f'{script.__file__}: run(EXP) stands outside of `if __name__ == "__main__":`, so that each process that '
            "trains a fold calls it again; put it there (or give --jobs 1)"
        )


def run_named(
    exp: Experiment, name: str, folds: tuple[int, ...], overwrite: bool, tracker: str, on_epoch: "OnEpoch | None"
) -> "Result | None":
    """What `chestfold.run` does where it is given a name."""
    from chestfold.train.loop import Stopped
    from chestfold.train.run import run_request

    base = exp.parent or exp
    request = Request(name, exp, folds, overwrite, _module_of(base, name), difference(base.to_dict(), exp.to_dict()))
    opened = open_tracker(tracker)
    try:
        return run_request(request, opened, on_epoch=on_epoch)
    except Stopped as stopped:
        say(f"{name}: {stopped}")
        return None
    finally:
        opened.close()


def run_command(command: Command) -> None:
    """Train the wanted folds: side by side in processes of their own, or one after the other in this one.

    Of several seeds one after the other; then they are blended.
    """
    if command.seeds:
        for one in command.of_seeds():
            run_command(one)
        blend_seeds(command)
        return
    from chestfold.train.jobs import describe_plan, plan, run_jobs

    choose_device(command.device)
    choose_workers(command.workers)
    folds = unfinished_folds(command.request)
    jobs, threads = plan(command.request.exp, len(folds), command.jobs, command.threads)
    open_tracker(command.tracker, command.wandb)  # a wrong mode is refused before anything begins
    if folds:
        say(describe_plan(len(folds), jobs, threads))
    if jobs > 1:
        run_jobs(command.request, jobs, threads, (command.tracker, command.wandb))
        return
    with waiting("loading PyTorch"):
        from chestfold.train.run import run_request

    run_request(command.request, open_tracker(command.tracker, command.wandb), threads)


def blend_seeds(command: Command) -> None:
    """The mean of the runs of several seeds as a result of its own; nothing is done where it is there already."""
    from chestfold.core import distributed
    from chestfold.evaluate.ensemble import ensemble, find_blend

    name, members = command.request.name, [request.name for request in command.seeds]
    if not distributed.is_main():
        return
    if find_blend(name, members, "mean"):
        say(f"{name} is finished")
        return
    if (RunFolder(name).path / "scores.json").exists():
        say(f"{name} is blended again, of the seeds as they are now")
    tracker = open_tracker(command.tracker, command.wandb)
    result, _ = ensemble(members, name, "mean", overwrite=True)
    title = result.record.competition_metric.title
    say(f"{name}: the mean of {plural(len(members), 'seed')} in {result.folder}, {title} {result.competition_score}")
    tracker.result_written(name)
    tracker.close()


def unfinished_folds(request: Request) -> list[int]:
    """The wanted folds that have no manifest yet; none where there is no fold file, which is refused later."""
    about = folds_dir() / f"{request.exp.fold_file}.json"
    if not about.exists():
        return []
    wanted = request.folds or tuple(range(read_json(about)["folds"]))
    if request.overwrite:
        return list(wanted)
    run = RunFolder(request.name)
    return [fold for fold in wanted if not run.fold(fold).manifest_path.exists()]


def read_command(exp: Experiment, argv: list[str] | None = None, main: Path | None = None) -> Command:
    """The command that `argv` (default: this process's) makes of `exp`, whose file is `main`.

    Raises:
        InputError: an option is unknown or ill-typed.
    """
    main = main or Path(sys.modules["__main__"].__file__ or "exp")
    words = sys.argv[1:] if argv is None else argv
    given = vars(_parser(exp, main).parse(_without_lists(words)))
    chosen = {name: parse_option(name, _words(given[name])) for name in field_types() if given[name] is not None}
    final = replace(exp, **chosen)
    tag, seeds = _checked_tag(given["tag"]) or sweep.trial(), _checked_seeds(given)
    request = _request(exp, final, f"{tag}-seeds".lstrip("-") if seeds else tag, main.stem, given)
    of_seeds = tuple(_request_of_seed(exp, replace(final, seed=seed), tag, main.stem, given) for seed in seeds)
    return Command(
        request,
        given["tracker"],
        given["wandb"],
        jobs=given["jobs"],
        threads=given["threads"],
        workers=given["workers"],
        device=given["device"],
        seeds=of_seeds,
    )


def _request(exp: Experiment, final: Experiment, tag: str, stem: str, given: dict[str, Any]) -> Request:
    """The run that the settings `final` and a tag make of `exp`, whose file is called `stem`."""
    name = _run_name(stem, tag, final.data if final.data != exp.data else "")
    if given["debug"]:
        final, name = debug_settings(final), f"{name}-debug"
    base = exp if tag else exp.parent or exp
    changed = difference(base.to_dict(), final.to_dict())
    parent = stem if tag else _module_of(base, stem)
    return Request(name, final, _wanted_folds(given["fold"] or ()), given["overwrite"], parent, changed)


def _request_of_seed(exp: Experiment, final: Experiment, tag: str, stem: str, given: dict[str, Any]) -> Request:
    """The run of one of several seeds. It is compared with the experiment, on the same data set."""
    same_data = replace(exp, data=final.data)
    of_seed = _request(exp, final, f"{tag}-seed{final.seed}".lstrip("-"), stem, given)
    parent = stem if tag else _run_name(stem, "", final.data if final.data != exp.data else "")
    changed = difference(same_data.to_dict(), of_seed.exp.to_dict()) | {"seed": (exp.seed, final.seed)}
    return replace(of_seed, parent=parent, changed=changed)


def _checked_seeds(given: dict[str, Any]) -> tuple[int, ...]:
    """The seeds of `--seeds`; none where it is not given.

    Raises:
        InputError: fewer than two, one twice, or an option beside them that contradicts.
    """
    seeds = tuple(given["seeds"] or ())
    if not seeds:
        return ()
    if given["seed"] is not None:
        raise InputError("--seed and --seeds: give one seed or several, not both")
    if len(set(seeds)) < len(seeds) or len(seeds) < 2:
        raise InputError(f"--seeds {' '.join(map(str, seeds))}: two or more different seeds are needed")
    if FULL in (given["fold"] or ()):
        raise InputError("--seeds and --fold full: train each on all images by itself, with --tag seedN --seed N")
    return seeds


def _wanted_folds(given: Sequence[int]) -> tuple[int, ...]:
    """The folds of `--fold`; `InputError` where the training on all images is one of several."""
    if FULL in given and len(given) > 1:
        raise InputError("--fold full is a training of its own, after all folds; give it alone")
    return tuple(given)


def _words(value: str | list[str]) -> list[str]:
    words = value if isinstance(value, list) else [value]
    return ["none" if word == "None" else word for word in words]


def _without_lists(argv: Sequence[str]) -> list[str]:
    """Python's lists, as a sweep writes them, as words: `--fold=[0, 1]` as `--fold 0 1`, `[]` as `none`."""
    words = []
    for word in argv:
        option, _, value = word.partition("=") if word.startswith("--") else ("", "", word)
        listed = _list_in(value)
        if listed is None:
            words.append(word)
        else:
            words += [option] if option else []
            words += [str(item) for item in listed] or ["none"]
    return words


def _list_in(text: str) -> list | None:
    """The list or tuple that a text spells in Python; None where it spells none."""
    if not (text.startswith(("[", "(")) and text.endswith(("]", ")"))):
        return None
    try:
        return list(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        return None


def _run_name(stem: str, tag: str, data: str) -> str:
    name = f"{stem}-{tag}" if tag else stem
    return f"{name}@{data}" if data else name


def _checked_tag(tag: str | None) -> str:
    if tag and (tag.endswith("debug") or not re.fullmatch(r"[a-z0-9][a-z0-9_.-]*", tag)):
        raise InputError(
            f"--tag {tag}: small letters, digits, '_', '.' and '-' make a tag, and it does not end in 'debug'"
        )
    return tag or ""


def _module_of(exp: Experiment, own: str) -> str:
    """The experiment file that `exp` came from: the module whose EXP it is; empty for the file called `own`."""
    for name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", {})  # getattr of any other name may make a module load more
        if name not in ("__main__", "__mp_main__", own) and names.get("EXP") is exp:
            return name
    return ""


# The options


def _parser(exp: Experiment, main: Path) -> Parser:
    parser = Parser(
        prog=f"python {main.name}",
        usage=f"python exps/{main.name} [--fold K ...] [--debug] [--tag TAG] [--SETTING VALUE ...]",
        description=sys.modules["__main__"].__doc__ or "",
        allow_abbrev=False,
    )
    _add_run_options(parser.add_argument_group("what to do"))
    values, group = exp.to_dict(), None
    for field in settings_of(Experiment):
        if field.name in SECTIONS:
            group = parser.add_argument_group(f"settings: {SECTIONS[field.name]}")
        assert group is not None
        kind = field_types()[field.name]
        text = f"{field.metadata['help']} [{_format(values[field.name])}]".replace("%", "%%")
        count: dict[str, Any] = {"nargs": "+"} if takes_several(kind) else {}
        if kind is bool:
            count = {"nargs": "?", "const": "true"}  # `--pretrained` alone
        option = f"--{field.name.replace('_', '-')}"
        group.add_argument(option, dest=field.name, metavar=_metavar(kind), help=text, **count)
    return parser


def _add_run_options(group: Any) -> None:
    group.add_argument(
        "--fold",
        nargs="+",
        type=_fold,
        metavar="K",
        help="train these folds only [all]; full: all training images, once all folds are finished, for as many epochs",
    )
    group.add_argument(
        "--jobs",
        type=at_least_one,
        default=0,
        metavar="N",
        help="folds at once [CPU: one a core, if memory allows; GPU: 1]",
    )
    group.add_argument(
        "--threads", type=at_least_one, default=0, metavar="N", help="CPU threads of each fold [the cores, shared out]"
    )
    group.add_argument(
        "--workers", type=_count_or_0, metavar="N", help="processes that make a fold's batches [CPU: 0; GPU: up to 12]"
    )
    add_device(group)
    group.add_argument(
        "--debug",
        action="store_true",
        help="a pass through everything in two minutes: 2 short epochs, 64 px, few images",
    )
    group.add_argument(
        "--seeds",
        nargs="+",
        type=int,
        metavar="N",
        help="train a run with each of these seeds, EXP-seedN, and blend them by mean into the result EXP-seeds",
    )
    group.add_argument("--tag", help="name of this variant: runs/EXP-TAG, compared with the experiment itself")
    add_tracker(group)
    group.add_argument("--overwrite", action="store_true", help="throw away what these folds hold, train anew")


def add_tracker(group: Any) -> None:
    """Add `--tracker` and `--wandb`."""
    group.add_argument(
        "--tracker", default="wandb", choices=list(TRACKERS), help="what shows the run elsewhere [wandb]"
    )
    group.add_argument(
        "--wandb",
        choices=["offline", "online", "disabled"],
        help="how W&B is used [WANDB_MODE, else online with a key, else disabled]",
    )


def at_least_one(text: str) -> int:
    """The number of an option; `ValueError` where it is below 1."""
    count = int(text)
    if count < 1:
        raise ValueError(text)
    return count


def _count_or_0(text: str) -> int:
    return 0 if text == "0" else at_least_one(text)


_count_or_0.__name__ = "number"
at_least_one.__name__ = "number above 0"  # argparse names the type in its complaint


def _fold(text: str) -> int:
    if text == FULL_FOLDER:
        return FULL
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


_fold.__name__ = "fold number"


def _metavar(kind: Any) -> str:
    """The placeholder of the value in the help: choices, or a letter that tells the type."""
    if get_origin(kind) is Literal:
        return "{" + ",".join(map(str, get_args(kind))) + "}"
    kind = get_args(kind)[0] if is_list(kind) else kind
    return {int: "N", float: "X", bool: "{true,false}", str: "TEXT"}.get(kind, "N")


def _format(value: Any) -> str:
    """A value as it would be typed."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
