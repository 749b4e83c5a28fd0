"""`chestfold synth`: one thin function per verb, as in `cli`."""

import argparse
from pathlib import Path
from typing import Any

from chestfold.cli.parser import add_verb
from chestfold.core.console import say, show
from chestfold.core.files import input_dir, runs_dir


def add_verbs(verbs: Any) -> None:
    """Add `synth`, which has verbs of its own."""
    about = "synthetic nodules: train, measure, blend, classifier-test, quiz, answers"
    verbs = verbs.add_parser("synth", help=about).add_subparsers(required=True, metavar="VERB")
    _generator_verbs(verbs)
    _blend_verbs(verbs)


def _generator_verbs(verbs: Any) -> None:
    train = add_verb(verbs, "train", synth_train, "train a generator on the nodules of a fold's training part")
    train.add_argument("name", help="the generators lie in runs/synth/NAME/foldK")
    train.add_argument("--data", required=True, help="data set with a fold file")
    train.add_argument("--fold", nargs="+", type=int, required=True, metavar="K", help="one generator for each")
    train.add_argument("--architecture", default="sagan", help="sagan or transposed (convolutions; no average)")
    train.add_argument("--steps", type=int, default=8000, help="of both networks [8000]")
    train.add_argument("--batch", type=int, default=32, help="real patches in a step [32]")
    train.add_argument("--width", type=int, default=32, help="channels at 32 x 32 [32]")
    train.add_argument("--share", type=float, default=1.0, help="of the fold's training nodules, 0 to 1 [1]")
    train.add_argument("--seed", type=int, default=0, help="[0]")
    train.add_argument("--overwrite", action="store_true", help="throw away what is there, train anew")
    measure = add_verb(
        verbs, "measure", synth_measure, "how like real nodules a generator's are: KID, copying, checkerboard"
    )
    measure.add_argument(
        "names", nargs="+", metavar="NAME", help="generators; the last is what others are compared with"
    )
    measure.add_argument("--fold", type=int, nargs="+", default=[0], metavar="K", help="[0]")
    measure.add_argument("--features", required=True, metavar="RUN", help="a run on the same folds, for its features")


def _blend_verbs(verbs: Any) -> None:
    blend = add_verb(verbs, "blend", synth_blend, "put nodules into healthy images: a data set with masks and lineage")
    blend.add_argument("name", help="name of the new data set")
    blend.add_argument("--nodules", required=True, help="real, a set of patches, or a trained generator's folder")
    blend.add_argument("--hosts", required=True, help="data set whose healthy images they are put into")
    blend.add_argument("--count", type=int, required=True, help="blended images; as many untouched ones are added")
    blend.add_argument("--fold", type=int, help="use images of the training part of this fold only [all]")
    blend.add_argument("--seed", type=int, default=0, help="[0]")
    blend.add_argument("--host-class", default="", metavar="CLASS", help="class of the hosts [the first declared]")
    blend.add_argument("--host-window", type=int, nargs=2, metavar=("LOW", "HIGH"), help="HU of black and of white")
    blend.add_argument("--nodule-mm", type=float, metavar="MM", help="size of a nodule's pixel [as declared]")
    blend.add_argument("--host-mm", type=float, metavar="MM", help="size of a host's pixel [as declared]")
    quiz = add_verb(verbs, "quiz", synth_quiz, "one HTML page on which readers tell real nodules from blended ones")
    quiz.add_argument("name", help="a data set that synth blend has made")
    quiz.add_argument("--out", type=Path, help="the file to write [runs/synth/quiz_NAME.html]")
    quiz.add_argument("--count", type=int, default=40, help="pictures, half of them real [40]")
    quiz.add_argument("--seed", type=int, default=0, help="another choice and order [0]")
    answers = add_verb(verbs, "answers", synth_answers, "score the CSVs that readers saved from the quiz")
    answers.add_argument("files", nargs="+", type=Path, metavar="CSV", help="one for each reader")
    test = add_verb(
        verbs, "classifier-test", synth_classifier_test, "train a classifier to tell real nodules from blended ones"
    )
    test.add_argument("name", help="a data set that synth blend has made")
    test.add_argument("--epochs", type=int, default=8, help="[8]")
    test.add_argument("--surroundings", action="store_true", help="the control: all that blending touched is black")


def synth_train(arguments: argparse.Namespace) -> None:
    """Train the generators of some folds."""
    from chestfold.synth.gan.train import Recipe, train

    given = vars(arguments)
    settings = {k: given[k] for k in ("data", "architecture", "steps", "batch", "width", "share", "seed")}
    for fold in arguments.fold:
        folder = train(arguments.name, Recipe(fold=fold, **settings), arguments.overwrite)
        say(f"{folder}: generator.safetensors, metrics.jsonl and the sample pictures")


def synth_measure(arguments: argparse.Namespace) -> None:
    """Print what is measured of some generators beside real patches and noise, fold by fold, and the mean of folds."""
    from chestfold.synth.gan.measure import mean_over_folds, measure, ways_of

    names, tables = arguments.names, []
    for fold in arguments.fold:
        rows, ways = measure(names, fold, arguments.features)
        tables.append(rows)
        _show_measured(f"fold {fold}", rows, ways, names[-1])
        say(f"measures.json, real_and_made.png and nearest.png are in runs/synth/NAME/fold{fold}")
    if len(tables) > 1:
        rows = mean_over_folds(tables)
        ways = {name: ways_of(rows, name, names[-1]) for name in names[:-1]}
        _show_measured("mean of the folds; ± is the deviation between them", rows, ways, names[-1])


def _show_measured(title: str, rows: dict[str, Any], ways: dict[str, dict[str, float]], last: str) -> None:
    from rich.table import Table

    head = ("patches", "KID", "KID, middle layer", "nearest training patch", "close to one", "power, period 2", "of 4")
    table = Table(*head, title=title, title_justify="left")
    for name, row in rows.items():
        near = "-" if row.distance is None else f"{row.distance:.1f}"
        close = "-" if row.close is None else f"{row.close:.1%}"
        kids = [f"{k.mean:.4f} ± {k.deviation:.4f}" if k.deviation else "-" for k in (row.kid, row.middle_kid)]
        table.add_row(name, *kids, near, close, f"{row.power_2:.2f}", f"{row.power_4:.2f}")
    show(table)
    for name, way in ways.items():
        text = f"{way['kid']:.2f} (middle layer: {way['middle_kid']:.2f})"
        say(f"{name} is {text} of the way from the floor (real, training) to {last}")


def synth_blend(arguments: argparse.Namespace) -> None:
    """Blend nodules into healthy images, and say what was made and what could not be used."""
    from chestfold.synth.blend.dataset import Request, blend, seams

    given = {name: value for name, value in vars(arguments).items() if name != "verb"}
    window = given.pop("host_window")
    work = blend(Request(**given, host_window=tuple(window) if window else None))
    for reason, times in work.skipped.most_common():
        say(f"skipped {times} x: {reason}")
    seam, untouched = seams(work), len(work.rows) - work.request.count
    say(f"scale: {work.scale.words}")
    say(
        f"seam's visibility, median (1 is none): {seam['before']:.2f}, after smoothing {seam['after']:.2f} "
        f"({seam['smoothed']} of {work.request.count} needed it)"
    )
    folder = input_dir() / arguments.name
    say(f"wrote {folder}: {work.request.count} blended, {untouched} untouched, {len(work.real)} real to compare with")
    say(f"look at {folder / 'before_after.png'}")


def synth_quiz(arguments: argparse.Namespace) -> None:
    """Write the readers' quiz."""
    from chestfold.synth.study.quiz import write_quiz

    path = arguments.out or runs_dir() / "synth" / f"quiz_{arguments.name}.html"
    write_quiz(arguments.name, path, arguments.count, arguments.seed)
    size = path.stat().st_size / 1e6
    say(f"wrote {path}: {arguments.count} pictures, {size:.1f} MB; open it in a browser, it needs no network")


def synth_answers(arguments: argparse.Namespace) -> None:
    """Print the figures of each reader, and of all together."""
    from rich.table import Table

    from chestfold.synth.study.reader_figures import load_answers, read_answers

    table = Table("reader", "pictures", "accuracy", "sensitivity", "specificity", "d'", "p against guessing")
    readers = [(path.stem, load_answers(path)) for path in arguments.files]
    if len(readers) > 1:
        import pandas as pd

        readers.append(("all together", pd.concat([answers for _, answers in readers])))
    for name, answers in readers:
        reading = read_answers(answers["truth"].tolist(), answers["answer"].tolist())
        found = (reading.accuracy, reading.sensitivity, reading.specificity, reading.d_prime)
        text = [f"{f.value:.2f} [{f.low:.2f}, {f.high:.2f}]" for f in found]
        table.add_row(name, str(len(answers)), *text, f"{reading.p_chance:.3f}")
    show(table)


def synth_classifier_test(arguments: argparse.Namespace) -> None:
    """A classifier two-sample test: its AUC is how well blended nodules can be told from real ones."""
    from chestfold.synth.study.classifier_test import classifier_test

    result = classifier_test(arguments.name, arguments.epochs, arguments.surroundings)
    what = ", by their surroundings alone" if arguments.surroundings else ""
    say(
        f"AUC of real against blended{what}: {result.score('at_half', 'auc')} (0.5: it cannot tell), in {result.folder}"
    )
