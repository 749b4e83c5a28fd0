"""`chestfold predict`: class, probability and heat map of single images."""

import argparse
import sys
from pathlib import Path
from typing import Any

from chestfold.cli.parser import add_calibrate, add_device, add_trust, add_verb, chosen_name
from chestfold.core.console import say, show
from chestfold.core.device import choose_device
from chestfold.core.errors import InputError
from chestfold.core.files import runs_dir, write_csv

APP_ABOUT = "a page on this machine that answers: drop a picture. Not for clinical use"
APP_EPILOG = (
    "The page is reached from this machine alone, asks nobody for anything, and deletes a picture when it is answered. "
    "It speaks English and Japanese. Ctrl-C ends it."
)
ABOUT = "predict images with a trained run or ensemble: class, probability, heat map. Not for clinical use"
EPILOG = (
    "For each image: the most probable class, its probability (the mean of the folds' models), the lowest and the "
    "highest of a fold, and remarks: unlike the training data; folds disagree (one would decide otherwise); in "
    "the training data, and then the answer of the fold that has not seen it; a debug run; folds missing. A file that "
    "cannot be read gets its line and stops no other; the exit code is 2 then."
)


def add_verbs(verbs: Any) -> None:
    """Add `predict` and `app`."""
    add_app(verbs)
    parser = add_verb(verbs, "predict", predict, ABOUT)
    parser.epilog = f"{EPILOG} {parser.epilog}"
    parser.add_argument("name", help="a run in runs/ with its checkpoints, or an ensemble of such runs (not by ranks)")
    parser.add_argument("images", nargs="+", type=Path, metavar="IMAGE", help="PNG, JPEG, DICOM, BMP, TIFF; or folders")
    _add_reading(parser)
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead of the table")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write a row for each file too")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where heat maps are written [runs/NAME/predicted]")
    parser.add_argument("--layer", default="", metavar="NAME", help="heat maps from this layer [the family's last]")
    parser.add_argument("--no-overlay", action="store_true", help="no heat maps: several times as fast")
    parser.add_argument("--overwrite", action="store_true", help="replace the --csv file")
    add_trust(parser)
    add_device(parser)


def add_app(verbs: Any) -> None:
    """Add `app`."""
    parser = add_verb(verbs, "app", app, APP_ABOUT)
    parser.epilog = f"{APP_EPILOG} {parser.epilog}"
    parser.add_argument("name", help="a run in runs/ with its checkpoints, or an ensemble of such runs (not by ranks)")
    parser.add_argument("--port", type=int, default=7860, help="of the page's address; 0 is any free one [7860]")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    _add_reading(parser)
    add_trust(parser)
    add_device(parser)


def _add_reading(parser: Any) -> None:
    """Options that say what a file holds, and whose probabilities are meant."""
    add_calibrate(parser)
    parser.add_argument(
        "--window",
        default="",
        help="DICOM of CT: lung (level -600, width 1500), mediastinum (40, 400) or bone (400, 1800)",
    )
    parser.add_argument(
        "--range", nargs=2, type=int, metavar=("LOW", "HIGH"), help="16-bit and DICOM: values that are black and white"
    )
    parser.add_argument(
        "--table", type=Path, metavar="CSV", help="age, sex, ...: a column file or id, and those that the run was given"
    )


def app(arguments: argparse.Namespace) -> None:
    """Serve the page until Ctrl-C."""
    import signal
    import webbrowser
    from contextlib import suppress

    from chestfold.predict import app as page
    from chestfold.predict import output
    from chestfold.predict.answer import Answerer

    choose_device(arguments.device)
    with page.quiet_gradio():
        listening = page.listen(arguments.port)
        answerer = Answerer(_predictor(arguments))
        _say_note(answerer.predictor)
        server = page.create_server(page.create_server_app(answerer))
        address = f"http://{page.HOST}:{listening.getsockname()[1]}"
        say(output.heading(answerer.predictor))
        say(f"the page: {address} (Ctrl-C ends it)")
        if arguments.open:
            webbrowser.open(address)
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # it too leaves no folder of uploads behind
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    say("the page is closed")


def _predictor(arguments: argparse.Namespace) -> Any:
    from chestfold.predict.predictor import Predictor

    levels = tuple(arguments.range) if arguments.range else None
    return Predictor(chosen_name(arguments), levels, arguments.window, table=arguments.table)


def _say_note(predictor: Any) -> None:
    if predictor.seen_images.note:
        say(predictor.seen_images.note)


def predict(arguments: argparse.Namespace) -> None:
    """Predict images; exit code 2 at the end when some could not be read."""
    from contextlib import redirect_stdout

    from chestfold.predict import output
    from chestfold.predict.inputs import find_images

    choose_device(arguments.device)
    if arguments.csv and arguments.csv.exists() and not arguments.overwrite:
        raise InputError(f"{arguments.csv} is there already; choose another --csv or add --overwrite")
    paths, notes = find_images(arguments.images)
    with redirect_stdout(sys.stderr if arguments.json else sys.stdout):  # stdout holds the JSON alone
        for note in notes:
            say(note)
        predictor = _predictor(arguments)
        predictor.require_values()
        _say_note(predictor)
        heatmaps = _heatmaps(predictor, arguments)
        lines = output.predict_files(predictor, paths, heatmaps)
        if heatmaps:
            heatmaps.write_legend()
    if arguments.csv:
        write_csv(arguments.csv, output.as_csv(predictor, lines))
    if arguments.json:
        print(output.as_json(predictor, lines))
    else:
        _print_lines(predictor, lines, arguments.csv)
    failed = sum(line.prediction is None for line in lines)
    if failed:
        raise InputError(f"{failed} of {len(lines)} files could not be read; the others are predicted")


def _heatmaps(predictor: Any, arguments: argparse.Namespace) -> Any:
    """What writes the heat maps, into a folder beside the run; None with --no-overlay."""
    if arguments.no_overlay:
        return None
    from chestfold.predict.heatmap import HeatmapWriter

    folder = arguments.out or runs_dir() / predictor.name / "predicted"
    try:
        return HeatmapWriter(predictor, folder, arguments.layer)
    except InputError as error:
        raise InputError(f"{error}; or add --no-overlay") from error


def _print_lines(predictor: Any, lines: Any, csv_file: Path | None) -> None:
    """The table, why files were not read, and the places of the rest."""
    from chestfold.predict import output

    say(output.heading(predictor))
    show(output.table(lines))
    for line in lines:
        if line.error:
            say(f"not read: {line.error}")
    for folder in sorted({line.heatmap.parent for line in lines if line.heatmap}):
        say(f"heat maps: {folder}")
    if csv_file:
        say(f"wrote {csv_file}")
