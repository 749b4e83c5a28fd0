"""The `chestfold` command: one thin function per verb. Heavy imports wait until the verb is known."""

import argparse
import sys
from pathlib import Path

from chestfold.cli import synth
from chestfold.cli.experiment import Parser, add_verb
from chestfold.core.console import fail, say, show, terminal_width
from chestfold.core.errors import ChestfoldError, InputError
from chestfold.core.files import input_dir, runs_dir


def main(argv: list[str] | None = None) -> None:
    """Entry point of `chestfold`; exits with code 2 and one sentence when the input is bad."""
    try:
        arguments = _parser().parse_args(argv)
        arguments.verb(arguments)
    except ChestfoldError as error:
        fail(error)
    except BrokenPipeError:
        sys.exit(0)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="chestfold",
        description="From a folder of chest images to a checked submission. Experiments are trained by their own "
        "files: python exps/exp021.py --help",
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    data = verbs.add_parser("data", help="list, fetch or check data sets").add_subparsers(required=True)
    add_verb(data, "list", data_list, "the data sets that are known by name")
    fetch = add_verb(data, "fetch", data_fetch, "make the phantom; download a data set or a competition from Kaggle")
    fetch.add_argument("name", nargs="?", help="a data set of `chestfold data list`")
    fetch.add_argument("--competition", metavar="SLUG", help="all files of a competition, into input/SLUG")
    check = add_verb(data, "check", data_check, "unreadable files, duplicates, label conflicts, leaks")
    check.add_argument("name")
    folds = verbs.add_parser("folds", help="make or check fold files").add_subparsers(required=True)
    make = add_verb(folds, "make", folds_make, "write folds/NAME.csv and .json: stratified, grouped, duplicates joined")
    make.add_argument("data", help="data set")
    make.add_argument("--folds", type=int, default=5, help="number of folds [5]")
    make.add_argument("--seed", type=int, default=0, help="[0]")
    make.add_argument("--name", help="name of the fold file [the data set's]")
    again = add_verb(folds, "check", folds_check, "prove a fold file again, and search for leaks")
    again.add_argument("data", help="data set")
    again.add_argument("--name", help="name of the fold file [the data set's]")
    blend = add_verb(verbs, "ensemble", ensemble, "blend finished results into a new one")
    blend.add_argument("members", nargs="+", help="names of finished results")
    blend.add_argument("--name", required=True, help="name of the new result")
    blend.add_argument("--method", default="mean", choices=["mean", "rank", "greedy", "stack"], help="[mean]")
    blend.add_argument("--tracker", default="wandb", help="as for an experiment [wandb]")
    blend.add_argument("--wandb", choices=["offline", "online", "disabled"], help="as for an experiment")
    blend.add_argument("--overwrite", action="store_true", help="replace another ensemble of this name")
    submit = add_verb(verbs, "submit", submit_result, "write and check submissions/NNN_NAME.csv, send it to Kaggle")
    submit.add_argument("name", help="a finished result")
    submit.add_argument("--competition", metavar="SLUG", help="where to send it: the last part of its address")
    submit.add_argument("-m", "--message", help="description of the submission at Kaggle [NAME]")
    submit.add_argument("--wait", type=float, default=30, metavar="MINUTES", help="for the score, at most [30]")
    submit.add_argument("--dry-run", action="store_true", help="write and check the file, send nothing")
    kernel = add_verb(verbs, "kernel", write_kernel, "write submissions/kernel_NAME/ for a code competition")
    kernel.add_argument("name", help="a run in runs/, with its checkpoints")
    kernel.add_argument("--competition", metavar="SLUG", required=True, help="the last part of its address")
    kernel.add_argument("--owner", default="", help="your name at Kaggle [the configured one]")
    _explain_options(
        add_verb(verbs, "explain", explain_run, "heat maps of a run's validation images, and where they lie")
    )
    _predict_options(add_verb(verbs, "predict", predict_pictures, PREDICT_HELP))
    leaderboard = add_verb(verbs, "board", show_board, "the leaderboard of all results, or another table")
    leaderboard.add_argument(
        "--table",
        default="results",
        choices=["results", "sources", "synthetic"],
        help="sources: the sources' tables beside ours; synthetic: what synthetic images are worth [results]",
    )
    report = add_verb(verbs, "report", write_page, "the leaderboard and every result as one HTML page")
    report.add_argument("--out", type=Path, help="the file to write [runs/report.html]")
    publish = add_verb(
        verbs, "publish", publish_result, "copy a result's small files to exps/results/, make RESULTS.md"
    )
    publish.add_argument("name", help="a finished run")
    publish.add_argument("--overwrite", action="store_true", help="replace another published result of this name")
    synth.add_verbs(verbs.add_parser("synth", help="synthetic nodules: train, measure, blend, judge, quiz"))
    return parser


def _explain_options(look: argparse.ArgumentParser) -> None:
    look.add_argument("name", help="a run in runs/, with its checkpoints")
    look.add_argument("--fold", nargs="+", type=int, default=[], metavar="K", help="these folds only [all finished]")
    look.add_argument("--ids", nargs="+", default=[], metavar="ID", help="these images, each by the model of its fold")
    look.add_argument("--method", default="gradcam", help="gradcam, gradcam++, layercam or eigencam [gradcam]")
    look.add_argument("--layer", default="", metavar="NAME", help="take the maps from this layer [the family's last]")
    look.add_argument("--count", type=int, default=40, metavar="N", help="images a fold, by lot; 0: all [40]")
    look.add_argument("--overwrite", action="store_true", help="replace the maps that are there")


PREDICT_HELP = "ask a trained run or ensemble about pictures: class, probability, heat map. Not for clinical use"


def _predict_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "For each picture: the most probable class, its probability (the mean of the folds' models), the lowest and "
        "the highest of a fold, and a word when the picture is unlike the training data. A file that cannot be read "
        "gets its line and stops no other; the exit code is 2 then. Example: "
        "chestfold predict exp021 scans/ --csv answers.csv"
    )
    parser.add_argument("name", help="a run in runs/ with its checkpoints, or an ensemble of such runs (not by ranks)")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG, JPEG, DICOM, BMP, TIFF; or folders")
    parser.add_argument(
        "--window", default="", help="DICOM of CT: lung (level -600, width 1500) or mediastinum (40, 400)"
    )
    parser.add_argument(
        "--range", nargs=2, type=int, metavar=("LOW", "HIGH"), help="16-bit and DICOM: values that are black and white"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead of the table")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each file too")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where heat maps are written [runs/NAME/asked]")
    parser.add_argument("--layer", default="", metavar="NAME", help="heat maps from this layer [the family's last]")
    parser.add_argument("--no-overlay", action="store_true", help="no heat maps: several times as fast")
    parser.add_argument("--overwrite", action="store_true", help="replace the --csv file")


def data_list(arguments: argparse.Namespace) -> None:
    """Print the catalogue."""
    from rich.table import Table

    from chestfold.data.catalogue import CATALOGUE, folders_of

    table = Table("name", "what", "classes (* positive)", "patient", "licence", "here")
    for d in CATALOGUE.values():
        classes = ", ".join(c + "*" * (c == d.positive) for c in d.classes)
        here = "yes" if all(folder.is_dir() for folder in folders_of(d)) else "no"
        table.add_row(d.name, d.about, classes, d.patient, d.licence, here)
    show(table)
    say(f"they lie in {input_dir()}; your own set: a folder there with a dataset.toml (see input/README.md)")


def data_fetch(arguments: argparse.Namespace) -> None:
    """Make the phantom set, or download a data set or a competition; what is there is proven by its checksums."""
    from chestfold.integrations.kaggle.download import fetch_competition, fetch_dataset

    if (arguments.name is None) == (arguments.competition is None):
        raise InputError("give the name of a data set (chestfold data list), or --competition and its slug")
    if arguments.name:
        fetch_dataset(arguments.name)
    else:
        fetch_competition(arguments.competition)


def data_check(arguments: argparse.Namespace) -> None:
    """Print a data set's report; exit code 2 when a file cannot be read."""
    from chestfold.data.catalogue import open_index
    from chestfold.data.check import check, summary

    index = open_index(arguments.name)
    report = check(index)
    for line in summary(index, report):
        say(line)
    if report.unreadable:
        raise InputError(f"{len(report.unreadable)} unreadable file(s) in {index.root}; replace or remove them")


def folds_make(arguments: argparse.Namespace) -> None:
    """Write a fold file."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    if arguments.folds < 2:
        raise InputError(f"--folds {arguments.folds}: at least 2 are needed")
    name = arguments.name or arguments.data
    if Path(name).name != name:
        raise InputError(f"--name {name}: a plain name is needed")
    index = open_index(arguments.data)
    made, new = folds.make(index, name, arguments.folds, arguments.seed)
    what = "wrote" if new else "is there already, the same:"
    say(f"{what} {folds.folds_dir() / name}.csv: {len(made.table)} images in {made.count} folds, no leak")


def folds_check(arguments: argparse.Namespace) -> None:
    """Prove a fold file again; exit code 2 when something straddles."""
    from chestfold.data import folds
    from chestfold.data.catalogue import open_index

    name = arguments.name or arguments.data
    report = folds.check(name, open_index(arguments.data))
    for kind, count in report["straddling"].items():
        say(f"{kind}: {report['found'][kind]} found, {count} in more than one fold")
    if any(report["straddling"].values()):
        raise InputError(f"folds/{name}.csv leaks; make a new one")


def ensemble(arguments: argparse.Namespace) -> None:
    """Blend, and show every method cross-fitted beside in-sample."""
    from rich.table import Table

    from chestfold.evaluate import ensemble as blending
    from chestfold.integrations.tracker import open_tracker

    tracker = open_tracker(arguments.tracker, arguments.wandb)
    result, rows = blending.ensemble(arguments.members, arguments.name, arguments.method, arguments.overwrite)
    best = next(iter(rows.values()))["over"]
    table = Table("method", "AUC cross-fitted", "AUC in-sample", f"gain over {best}", "weights")
    for name, row in rows.items():
        weights = " ".join(f"{w:.2f}" for w in row["weights"]) if row["weights"] else "-"
        gain = row["gain"]
        text = f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"
        table.add_row(name, str(row["cross_fitted"]["auc"]), f"{row['in_sample']:.4f}", text, weights)
    show(table)
    say(f"{result.name} ({arguments.method}) is in {result.folder}; weights stand in the order of the members")
    say(f"next: chestfold submit {result.name} --dry-run")
    tracker.result_written(result.name)
    tracker.close()


def submit_result(arguments: argparse.Namespace) -> None:
    """Write and check a submission; send it and wait for its score unless this is a dry run."""
    from chestfold.integrations.kaggle.submission import write_submission

    if not (arguments.dry_run or arguments.competition):
        raise InputError("say where to: --competition and the competition's slug, or --dry-run to send nothing")
    path, new = write_submission(arguments.name)
    say(f"{'wrote' if new else 'the same content is already in'} {path}; it passes every check")
    if arguments.dry_run:
        say(f"nothing was sent; to send it: chestfold submit {arguments.name} --competition SLUG -m MESSAGE")
        return
    from chestfold.integrations.kaggle.upload import format_lines, send

    entry = send(path, arguments.competition, arguments.message or arguments.name, arguments.wait)
    for line in format_lines(path, entry):
        say(line)


def write_kernel(arguments: argparse.Namespace) -> None:
    """Write what a code competition takes, and say how to send it."""
    from chestfold.integrations.kaggle import kernel

    folder = kernel.write_kernel(arguments.name, arguments.competition, arguments.owner)
    count = len(list((folder / "weights").glob("*.safetensors")))
    say(f"wrote {folder}: {kernel.SCRIPT}, its metadata, and weights/ with {count} network(s); nothing was sent")
    say(f"next, in this order: kaggle datasets create -p {folder / 'weights'}")
    say(f"                     kaggle kernels push -p {folder}")


def explain_run(arguments: argparse.Namespace) -> None:
    """Write the heat maps of a run, their gallery, and say where they lie."""
    from chestfold.explain.run import explain
    from chestfold.explain.select import ExplainConfig
    from chestfold.report.gallery import format_lines, write_gallery

    a = arguments
    folder = explain(ExplainConfig(a.name, a.method, a.layer, tuple(a.fold), tuple(a.ids), a.count), a.overwrite)
    page = write_gallery(folder)
    for line in format_lines(folder):
        say(line)
    say(f"wrote {page}; the maps are in {folder}. Not for clinical use.")


def predict_pictures(arguments: argparse.Namespace) -> None:
    """Ask about pictures; exit code 2 at the end when some could not be read."""
    from contextlib import redirect_stdout

    from chestfold.cli import predict
    from chestfold.core.files import write_text
    from chestfold.predict.inputs import pictures

    if arguments.csv and arguments.csv.exists() and not arguments.overwrite:
        raise InputError(f"{arguments.csv} is there already; choose another --csv or add --overwrite")
    paths, notes = pictures(arguments.images)
    with redirect_stdout(sys.stderr if arguments.json else sys.stdout):  # what is printed as JSON stands alone
        for note in notes:
            say(note)
        predictor = predict.open_predictor(arguments.name, arguments.range, arguments.window)
        painter = None if arguments.no_overlay else predict.open_painter(predictor, arguments.out, arguments.layer)
        lines = predict.ask(predictor, paths, painter)
    if arguments.csv:
        write_text(arguments.csv, predict.as_csv(predictor, lines))
    if arguments.json:
        print(predict.as_json(predictor, lines))
    else:
        predict.tell(predictor, lines, arguments.csv)
    wrong = sum(line.answer is None for line in lines)
    if wrong:
        raise InputError(f"{wrong} of {len(lines)} files could not be read; the others are answered")


def show_board(arguments: argparse.Namespace) -> None:
    """Print the leaderboard and what is still training, or another table."""
    from chestfold.evaluate import leaderboard, published_baselines, synthetic_gain
    from chestfold.report.terminal import tables

    if arguments.table != "results":
        others = {"sources": published_baselines.terminal_tables, "synthetic": synthetic_gain.terminal_tables}
        drawn = others[arguments.table]()
        for table in drawn:
            show(table)
        if not drawn:
            say("no result with synthetic images beside one without; see the README on synthetic nodules")
        return
    boards = tables(terminal_width())
    for table in boards:
        show(table)
    if boards and terminal_width() < leaderboard.WIDE:
        say(f"more columns in a terminal of {leaderboard.WIDE} characters, or: chestfold board | less -S")
    for line in leaderboard.unfinished():
        say(f"not collected yet: {line}")
    if not boards:
        say("no finished result yet; start with: make demo")


def write_page(arguments: argparse.Namespace) -> None:
    """Write the HTML page of all results."""
    from chestfold.report.page import write_report

    path = arguments.out or runs_dir() / "report.html"
    count = write_report(path)
    size = path.stat().st_size / 1e6
    say(f"wrote {path}: {count} result{'s' * (count != 1)}, {size:.1f} MB; open it in a browser, it needs no network")


def publish_result(arguments: argparse.Namespace) -> None:
    """Publish a finished run."""
    from chestfold.report.publish import publish

    target = publish(arguments.name, arguments.overwrite)
    say(f"{target} and RESULTS.md are written; commit them")


if __name__ == "__main__":
    main()
