"""`chestfold synth`: one thin function per verb, as in `cli`."""

import argparse
from typing import TYPE_CHECKING, Any

from chestfold.cli.parser import add_verb
from chestfold.cli.quiz import add_answers_verb, add_quiz_options, write_page
from chestfold.core.console import say, show
from chestfold.core.files import input_dir

if TYPE_CHECKING:
    from pandas import DataFrame

BLENDED_SET = "a data set that synth blend has made"


def add_verbs(verbs: Any) -> None:
    """Add `synth`, which has verbs of its own."""
    about = "synthetic nodules: train, measure, blend, classifier-test, quiz, answers"
    verbs = verbs.add_parser("synth", help=about).add_subparsers(required=True, metavar="VERB")
    _add_generator_verbs(verbs)
    _add_blend_verb(verbs)
    _add_study_verbs(verbs)


def _add_generator_verbs(verbs: Any) -> None:
    train = add_verb(verbs, "train", synth_train, "train a generator on the nodules of a fold's training part")
    train.add_argument("name", help="the generators are written to runs/synth/NAME/foldK")
    train.add_argument("--data", required=True, help="data set with a fold file")
    train.add_argument("--fold", nargs="+", type=int, required=True, metavar="K", help="one generator for each")
    about = "sagan: with attention, weights averaged over the steps; transposed: convolutions alone [sagan]"
    train.add_argument("--architecture", default="sagan", help=about)
    about = "training steps of generator and discriminator: more are better up to some thousands [8000]"
    train.add_argument("--steps", type=int, default=8000, help=about)
    train.add_argument("--batch", type=int, default=32, help="real patches in a step; fewer need less memory [32]")
    about = "channels of the layer of 32 x 32 px: more draw finer, and take longer [32]"
    train.add_argument("--width", type=int, default=32, help=about)
    about = "part of the fold's training nodules that it learns from, 0 to 1: to try how few are enough [1]"
    train.add_argument("--share", type=float, default=1.0, help=about)
    train.add_argument("--seed", type=int, default=0, help="another one gives other first weights and order [0]")
    train.add_argument("--overwrite", action="store_true", help="throw away what is there, train anew")
    about = "how similar a generator's nodules are to real ones: KID, copying, checkerboard"
    measure = add_verb(verbs, "measure", synth_measure, about)
    about = "generators; the last is what others are compared with"
    measure.add_argument("names", nargs="+", metavar="NAME", help=about)
    measure.add_argument("--fold", type=int, nargs="+", default=[0], metavar="K", help="generators of these folds [0]")
    about = "a finished run on the same folds: distances are taken between its features"
    measure.add_argument("--features", required=True, metavar="RUN", help=about)


def _add_blend_verb(verbs: Any) -> None:
    blend = add_verb(verbs, "blend", synth_blend, "put nodules into healthy images: a data set with masks and lineage")
    blend.add_argument("name", help="name of the new data set")
    about = "real: those of luna16_patches; or another data set of patches; or the folder of a trained generator"
    blend.add_argument("--nodules", required=True, help=about)
    blend.add_argument("--hosts", required=True, help="data set whose healthy images they are put into")
    about = "blended images to make; as many healthy ones are added untouched"
    blend.add_argument("--count", type=int, required=True, help=about)
    about = "nodules and hosts of this fold's training part only, so that runs on the fold may train with them [all]"
    blend.add_argument("--fold", type=int, metavar="K", help=about)
    blend.add_argument("--seed", type=int, default=0, help="another one gives other pairs and places [0]")
    blend.add_argument("--host-class", default="", metavar="CLASS", help="class of the hosts [the first declared]")
    about = "Hounsfield units that are black and white in the hosts [as declared]"
    blend.add_argument("--host-window", type=int, nargs=2, metavar=("LOW", "HIGH"), help=about)
    about = "side of a pixel of the nodules in mm: they are scaled to that of the hosts [as declared]"
    blend.add_argument("--nodule-mm", type=float, metavar="MM", help=about)
    blend.add_argument("--host-mm", type=float, metavar="MM", help="side of a pixel of the hosts in mm [as declared]")


def _add_study_verbs(verbs: Any) -> None:
    quiz = add_verb(verbs, "quiz", synth_quiz, "one HTML page on which readers tell real nodules from blended ones")
    quiz.add_argument("name", help=BLENDED_SET)
    add_quiz_options(quiz)
    add_answers_verb(verbs)
    about = "train a classifier to tell real nodules from blended ones"
    test = add_verb(verbs, "classifier-test", synth_classifier_test, about)
    test.add_argument("name", help=BLENDED_SET)
    test.add_argument("--epochs", type=int, default=8, help="of the classifier [8]")
    test.add_argument("--surroundings", action="store_true", help="the control: all that blending touched is black")


def synth_train(arguments: argparse.Namespace) -> None:
    """Train the generators of some folds."""
    from chestfold.synth.gan.train import Recipe, train

    given = vars(arguments)
    settings = {name: given[name] for name in ("data", "architecture", "steps", "batch", "width", "share", "seed")}
    for fold in arguments.fold:
        folder = train(arguments.name, Recipe(fold=fold, **settings), arguments.overwrite)
        say(f"{folder}: generator.safetensors, metrics.jsonl and the sample pictures")


def synth_measure(arguments: argparse.Namespace) -> None:
    """Print what is measured of some generators beside real patches and noise, fold by fold, and the mean of folds."""
    from chestfold.synth.gan.measure import mean_over_folds, measure

    tables = []
    for fold in arguments.fold:
        tables.append(measure(arguments.names, fold, arguments.features))
        _show_measured(f"fold {fold}", tables[-1], arguments.names)
        say(f"measures.json, real_and_made.png and nearest.png are in runs/synth/NAME/fold{fold}")
    if len(tables) > 1:
        title = "mean of the folds; ± is the deviation between them"
        _show_measured(title, mean_over_folds(tables), arguments.names)


def _show_measured(title: str, measured: "DataFrame", names: list[str]) -> None:
    from rich.table import Table

    from chestfold.synth.gan.measure import gap_to_floor

    head = ("patches", "KID", "KID, middle layer", "nearest training patch", "close to one", "power, period 2", "of 4")
    table = Table(*head, title=title, title_justify="left")
    for name, row in measured.iterrows():
        table.add_row(
            str(name),
            _format_kid(row["kid"], row["kid_deviation"]),
            _format_kid(row["middle_kid"], row["middle_kid_deviation"]),
            f"{row['distance']:.1f}".replace("nan", "-"),
            f"{row['close']:.1%}".replace("nan%", "-"),
            f"{row['power_2']:.2f}",
            f"{row['power_4']:.2f}",
        )
    show(table)
    last = names[-1]
    for name in names[:-1]:
        gap = gap_to_floor(measured, name, last)
        text = f"{gap['kid']:.2f} (middle layer: {gap['middle_kid']:.2f})"
        say(f"{name} is {text} of the way from the floor (real, training) to {last}")


def _format_kid(mean: float, deviation: float) -> str:
    return f"{mean:.4f} ± {deviation:.4f}" if deviation else "-"


def synth_blend(arguments: argparse.Namespace) -> None:
    """Blend nodules into healthy images, and say what was made and what could not be used."""
    from chestfold.synth.blend.dataset import BlendRequest, blend

    given = {name: value for name, value in vars(arguments).items() if name != "verb"}
    if arguments.host_window:
        given["host_window"] = tuple(arguments.host_window)
    made = blend(BlendRequest(**given))
    for reason, times in made.skipped.most_common():
        say(f"skipped {times} x: {reason}")
    count = arguments.count
    seam = made.seams()
    untouched = len(made.rows) - count
    say(f"scale: {made.scale.words}")
    say(
        f"seam's visibility, median (1 is none): {seam['before']:.2f}, after smoothing {seam['after']:.2f} "
        f"({seam['smoothed']} of {count} needed it)"
    )
    folder = input_dir() / arguments.name
    say(f"wrote {folder}: {count} blended, {untouched} untouched, {len(made.real)} real to compare with")
    say(f"look at {folder / 'before_after.png'}")


def synth_quiz(arguments: argparse.Namespace) -> None:
    """Write the readers' quiz about real and blended nodules."""
    from chestfold.synth.study.blended_quiz import blended_quiz

    write_page(blended_quiz(arguments.name, arguments.count, arguments.seed, arguments.blind), arguments.out)


def synth_classifier_test(arguments: argparse.Namespace) -> None:
    """A classifier two-sample test: its AUC is how well blended nodules can be told from real ones."""
    from chestfold.synth.study.classifier_test import classifier_test

    result = classifier_test(arguments.name, arguments.epochs, arguments.surroundings)
    basis = ", by their surroundings alone" if arguments.surroundings else ""
    auc = result.score("at_half", "auc")
    say(f"AUC of real against blended{basis}: {auc} (0.5: it cannot tell), in {result.folder}")
