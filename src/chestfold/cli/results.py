"""What comes after training: `ensemble`, `calibrate`, `import`, `submit`, `kernel`, `board`, `report`, `track`, and
`publish`."""

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from chestfold.cli.parser import add_calibrate, add_trust, add_verb, chosen_name
from chestfold.core.console import NATURAL, plural, print_written, say, show, show_lines, terminal_width, waiting
from chestfold.core.errors import InputError
from chestfold.core.files import require_file, runs_dir
from chestfold.integrations.tracker import TRACKERS

if TYPE_CHECKING:
    from chestfold.core.fitted_table import FittedTable

METHODS = ["mean", "rank", "greedy", "stack"]
WATCH = 10.0
"""Seconds between two looks at runs/."""


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module."""
    _add_ensemble(verbs)
    text = "write NAME-calibrated: the same predictions with probabilities that mean what they say"
    calibrate_verb = add_verb(verbs, "calibrate", calibrate_result, text)
    calibrate_verb.add_argument("name", help="a finished result with two or more folds: a run, an ensemble, an import")
    add_trust(calibrate_verb)
    _add_import(verbs)
    _add_kaggle(verbs)
    board = add_verb(verbs, "board", show_board, "the leaderboard of all results, or another table")
    board.add_argument(
        "--table",
        default="results",
        choices=["results", "sources", "synthetic"],
        help="sources: the sources' tables beside ours; synthetic: what synthetic images gain [results]",
    )
    board.add_argument("names", nargs="*", metavar="NAME", help="these results only [all]")
    board.add_argument("--data", default="", help="results on this data set only [all]")
    published = board.add_mutually_exclusive_group()
    published.add_argument("--own", action="store_true", help="without the published results of exps/results/")
    published.add_argument("--all", action="store_true", help="with them, where there are own ones too")
    board.add_argument("--top", type=int, metavar="N", help="the first N of each table [all]")
    board.add_argument("--columns", default="", metavar="A,B", help="these columns: auc,gain,minutes [those that fit]")
    board.add_argument("--sort", default="", metavar="COLUMN", help="the best of it first [the competition's metric]")
    written = board.add_mutually_exclusive_group()
    for name, what in (("json", "JSON"), ("csv", "CSV"), ("markdown", "Markdown")):
        about = f"print {what}: all results, all columns"
        written.add_argument(f"--{name}", dest="written", action="store_const", const=name, help=about)
    report = add_verb(verbs, "report", write_page, "the leaderboard and every result as one HTML page")
    report.add_argument("names", nargs="*", metavar="NAME", help="these results only [all]")
    text = f"write it again when a run changes, looking every so many seconds [{WATCH:g}]; Ctrl-C ends it"
    report.add_argument("--watch", nargs="?", type=float, const=WATCH, metavar="SECONDS", help=text)
    report.add_argument("--open", action="store_true", help="show it in the browser")
    report.add_argument("--card", metavar="NAME", help="instead: the model card of this result, to print")
    report.add_argument("--language", choices=["en", "ja", "both"], help="of the card [en]")
    report.add_argument("--out", type=Path, help="the file to write [report.html, or card_NAME.html, in runs/]")
    add_trust(report)
    _add_track(verbs)
    publish = add_verb(
        verbs, "publish", publish_result, "copy a result's small files to exps/results/, make RESULTS.md"
    )
    publish.add_argument("name", nargs="?", help="a finished run")
    text = "instead: score all published predictions by today's rules, and say how many figures are others"
    publish.add_argument("--rescore", action="store_true", help=text)
    publish.add_argument("--overwrite", action="store_true", help="replace another published result of this name")
    add_trust(publish)


def _add_ensemble(verbs: Any) -> None:
    blend = add_verb(verbs, "ensemble", ensemble, "blend finished results into a new one")
    blend.add_argument("members", nargs="+", help="names of finished results")
    blend.add_argument("--name", required=True, help="name of the new result")
    blend.add_argument("--method", default="mean", choices=METHODS, help="how they are weighted [mean]")
    blend.add_argument("--tracker", default="wandb", choices=list(TRACKERS), help="as for an experiment [wandb]")
    blend.add_argument("--wandb", choices=["offline", "online", "disabled"], help="as for an experiment")
    blend.add_argument("--overwrite", action="store_true", help="replace another ensemble of this name")
    add_trust(blend)


def _add_track(verbs: Any) -> None:
    track = add_verb(verbs, "track", track_result, "send to W&B, or to another tracker, what it missed of a run")
    track.add_argument("name", help="a run in runs/ of which a fold is finished, or an ensemble")
    track.add_argument("--tracker", default="wandb", choices=list(TRACKERS), help="as for an experiment [wandb]")
    track.add_argument("--wandb", choices=["offline", "online"], help="as for an experiment")
    add_trust(track)


def track_result(arguments: argparse.Namespace) -> None:
    """Send what is missing."""
    from chestfold.integrations.tracker import open_tracker

    open_tracker(arguments.tracker, arguments.wandb).send(arguments.name)


def _add_import(verbs: Any) -> None:
    text = "take over out-of-fold predictions that were made elsewhere, after the proofs that ours pass"
    importer = add_verb(verbs, "import", import_result, text)
    importer.add_argument("name", help="name of the new result")
    importer.add_argument("--data", required=True, metavar="DATA", help="the data set that they are of")
    importer.add_argument("--folds", default="", metavar="FOLDS", help="the fold file that they were made with [DATA]")
    importer.add_argument(
        "--oof", required=True, type=Path, metavar="FILE", help="CSV: a row for each training image, a column a class"
    )
    importer.add_argument("--test", type=Path, metavar="FILE", help="CSV: the same for the test images")
    importer.add_argument("--id-column", default="", metavar="NAME", help="column of the images [the data set's, id]")
    importer.add_argument("--overwrite", action="store_true", help="replace another result of this name")


def _add_kaggle(verbs: Any) -> None:
    submit = add_verb(verbs, "submit", submit_result, "write and check submissions/NNN_NAME.csv, send it to Kaggle")
    submit.add_argument("name", help="a finished result")
    submit.add_argument("--competition", metavar="SLUG", help="where to send it: the last part of its address")
    submit.add_argument("-m", "--message", help="description of the submission at Kaggle [NAME]")
    submit.add_argument("--wait", type=float, default=30, metavar="MINUTES", help="for the score, at most [30]")
    submit.add_argument("--partial", action="store_true", help="also where folds are not trained yet")
    submit.add_argument(
        "--full", action="store_true", help="what --fold full predicts, beside the figures of the folds"
    )
    add_calibrate(submit)
    submit.add_argument("--again", action="store_true", help="send anew what Kaggle could not score, or refused")
    submit.add_argument("--dry-run", action="store_true", help="write and check the file, send nothing")
    add_trust(submit)
    kernel = add_verb(verbs, "kernel", write_kernel, "write submissions/kernel_NAME/ for a code competition")
    kernel.add_argument("name", help="a run in runs/, with its checkpoints, or an ensemble of such runs")
    kernel.add_argument("--competition", metavar="SLUG", required=True, help="the last part of its address")
    kernel.add_argument("--owner", default="", help="your name at Kaggle [the configured one]")
    kernel.add_argument("--partial", action="store_true", help="also where folds are not trained yet")
    kernel.add_argument("--full", action="store_true", help="with the network of --fold full")
    kernel.add_argument("--send", action="store_true", help="push the data set and the kernel, submit what has run")
    kernel.add_argument("-m", "--message", help="description of the submission at Kaggle [NAME]")
    kernel.add_argument(
        "--wait", type=float, default=720, metavar="MINUTES", help="for data set, kernel and score, at most [720]"
    )
    kernel.add_argument("--again", action="store_true", help="take anew what failed by Kaggle's fault")
    add_trust(kernel)


def ensemble(arguments: argparse.Namespace) -> None:
    """Blend, and show every method cross-fitted beside in-sample."""
    from rich.table import Table

    from chestfold.evaluate.ensemble import ensemble as blend
    from chestfold.integrations.tracker import open_tracker

    tracker = open_tracker(arguments.tracker, arguments.wandb)
    result, compared = blend(arguments.members, arguments.name, arguments.method, arguments.overwrite)
    best = next(iter(compared.values())).over
    metric = result.record.competition_metric.title
    table = Table("method", f"{metric} of folds", f"gain over {best}", f"{metric} pooled", "in-sample", "weights")
    for name, row in compared.items():
        weights = " ".join(f"{weight:.2f}" for weight in row.weights) if row.weights else "-"
        texts = [f"{row.fold_mean:.4f}", row.gain.format_gain(), str(row.score), f"{row.in_sample:.4f}", weights]
        table.add_row(name, *texts)
    show(table)
    say(f"{metric} of folds: their mean, cross-fitted; the gain is in it, over the best member. In-sample is too good")
    say(f"{result.name} ({arguments.method}) is in {result.folder}; weights are in the order of the members")
    say(f"next: chestfold submit {shlex.quote(result.name)} --dry-run")
    tracker.result_written(result.name)
    tracker.close()


def calibrate_result(arguments: argparse.Namespace) -> None:
    """Calibrate, and show what it changes: each figure before and after."""
    from rich.table import Table

    from chestfold.evaluate.calibrated import calibrate
    from chestfold.evaluate.metrics import METRICS
    from chestfold.evaluate.results import find_result

    made, source = calibrate(arguments.name), find_result(arguments.name)
    table = Table("out of fold", source.name, made.name)
    for name in ("log_loss", "brier", "ece", "auc", "f1", "accuracy"):
        texts = [str(result.score("at_half", name) or "-") for result in (source, made)]
        table.add_row(METRICS[name].title, *texts)
    show(table)
    say("each fold is calibrated by the others; test images and new ones by all of them")
    say(f"{made.name} is in {made.folder}")
    ours, theirs = shlex.quote(made.name), shlex.quote(source.name)
    say(f"next: chestfold compare {ours} {theirs}; chestfold submit {ours} --dry-run")


def import_result(arguments: argparse.Namespace) -> None:
    """Import a stranger's predictions, and say what they score here."""
    from chestfold.evaluate import imported

    source = imported.Source(arguments.oof, arguments.test, arguments.id_column)
    made = imported.import_result(arguments.name, arguments.data, arguments.folds, source, arguments.overwrite)
    for note in made.notes:
        say(note)
    title, score = made.result.record.competition_metric.title, made.result.competition_score
    there = "is in" if made.is_new else "is already in"
    say(f"{made.result.name} {there} {made.result.folder}, {title} {score}, scored here")
    say(f"next: chestfold board; chestfold ensemble {shlex.quote(made.result.name)} RUN --name NAME")


def submit_result(arguments: argparse.Namespace) -> None:
    """Write and check a submission; send it and wait for its score unless this is a dry run."""
    from chestfold.integrations.kaggle.submission import write_submission

    if not (arguments.dry_run or arguments.competition):
        raise InputError("say where to: --competition and the competition's slug, or --dry-run to send nothing")
    result = chosen_name(arguments)
    path, new = write_submission(result, arguments.partial, arguments.full)
    say(f"{'wrote' if new else 'the same content is already in'} {path}; it passes every check")
    if arguments.dry_run:
        name = shlex.quote(result)
        name = f"{name} --full" if arguments.full else name
        say(f"nothing was sent; to send it: chestfold submit {name} --competition SLUG -m MESSAGE")
        return
    from chestfold.integrations.kaggle.upload import format_lines, send

    message = arguments.message or result
    entry = send(path, arguments.competition, message, arguments.wait, arguments.again)
    for line in format_lines(path, entry):
        say(line)


def write_kernel(arguments: argparse.Namespace) -> None:
    """Write what a code competition takes, say what leaves this machine, and send it where that is asked for."""
    from chestfold.evaluate.results import find_result
    from chestfold.integrations.kaggle import kernel
    from chestfold.integrations.kaggle.submission import require_all_folds

    a = arguments
    require_all_folds(find_result(a.name), a.partial)
    made = kernel.write_kernel(a.name, a.competition, a.owner, a.full)
    say(f"wrote {made.folder}: {kernel.SCRIPT}, its metadata, and weights/")
    for line in kernel.describe(made):
        say(line)
    if not a.send:
        say("nothing was sent; the same command with --send sends it, and submits it to the competition")
        return
    from chestfold.integrations.kaggle.kernel_send import send_kernel
    from chestfold.integrations.kaggle.upload import format_lines

    path, entry = send_kernel(made, a.message or a.name, a.wait, a.again)
    for line in format_lines(path, entry):
        say(line)


def show_board(arguments: argparse.Namespace) -> None:
    """Print the leaderboard and what is still training, or another table."""
    with waiting("reading results"):
        from chestfold.report import terminal

    if arguments.table == "results":
        _show_results(arguments)
        return
    if arguments.written:
        raise InputError(f"--{arguments.written} is for the results; RESULTS.md holds the table {arguments.table}")
    with waiting("comparing results"):
        tables = terminal.baseline_tables() if arguments.table == "sources" else terminal.synthetic_tables()
    _show_tables(tables)
    if not tables:
        say("no result with synthetic images beside one without; see docs/how-to/synthetic.md")


def _show_results(arguments: argparse.Namespace) -> None:
    from chestfold.evaluate import leaderboard
    from chestfold.report import export, terminal

    a = arguments
    chosen = leaderboard.Selection(a.names, a.data, a.own, a.top)
    columns = [name for name in a.columns.split(",") if name]
    view = terminal.View(bool(a.all or a.written), columns, a.sort)
    with waiting("comparing results"):
        boards, left_out = terminal.boards(chosen, view)
    if a.written:
        print_written(export.FORMATS[a.written](boards, view), a.written)
        return
    piped = terminal_width() == NATURAL
    _show_tables([terminal.fitted(board, view, with_empty=piped) for board in boards])
    for line in [*left_out, *leaderboard.displaced(), *leaderboard.unfinished()]:
        say(line)
    if not boards:
        say("no finished result yet; start with: make demo")


def _show_tables(tables: "Sequence[FittedTable]") -> None:
    for table in tables:
        show_lines([*table.lines(terminal_width()), Text()])


def write_page(arguments: argparse.Namespace) -> None:
    """Write the HTML page of all results, once or as long as something trains; or the card of one result."""
    if arguments.card:
        write_card(arguments)
        return
    if arguments.language:
        raise InputError("--language is of a card: add --card NAME; the page itself is in both languages")
    from chestfold.report.page import write_report
    from chestfold.report.watch import watch

    path = arguments.out or runs_dir() / "report.html"
    require_file(path)
    if arguments.watch is not None:
        if not 1 <= arguments.watch <= 86400:
            raise InputError(f"--watch {arguments.watch:g}: 1 to 86400 seconds")
        watch(path, arguments.names, arguments.watch, lambda: _open(path) if arguments.open else None)
        return
    with waiting("making the page"):
        count = write_report(path, arguments.names)
    size = path.stat().st_size / 1e6
    say(f"wrote {path}: {plural(count, 'result')}, {size:.1f} MB; open it in a browser, it needs no network")
    if arguments.open:
        _open(path)


def _open(path: Path) -> None:
    """Show a file in the browser, where there is one."""
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        say(f"no browser was found here; open {path} in one")


def write_card(arguments: argparse.Namespace) -> None:
    """Write a model card."""
    from chestfold.report.card import page

    if arguments.names or arguments.watch is not None:
        raise InputError("--card NAME is of one result; it goes with --language, --open and --out only")
    path = arguments.out or runs_dir() / f"card_{arguments.card}.html"
    page.write_card(arguments.card, arguments.language or "en", path)
    say(f"wrote {path}; open it in a browser to print it, it needs no network")
    if arguments.open:
        _open(path)


def publish_result(arguments: argparse.Namespace) -> None:
    """Publish a finished run."""
    from chestfold.report.publish import publish, rescore

    if bool(arguments.name) == arguments.rescore:
        raise InputError("name a finished run to publish, or say --rescore for all that are published")
    if arguments.rescore:
        found = rescore()
        figures, intervals = plural(found.figures, "figure"), plural(found.intervals, "interval")
        say(f"scored {plural(found.results, 'published result')} again: {figures} and {intervals} are others")
        return
    target = publish(arguments.name, arguments.overwrite)
    say(f"{target} and RESULTS.md are written; commit them")
