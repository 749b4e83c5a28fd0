"""`chestfold quiz` and `chestfold answers`: people read the images, and are scored."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chestfold.cli.parser import add_verb
from chestfold.core.console import say, show
from chestfold.core.files import runs_dir

if TYPE_CHECKING:
    from chestfold.evaluate.bootstrap import Score
    from chestfold.synth.study.quiz import Quiz
    from chestfold.synth.study.reader_figures import Reading


def add_verbs(verbs: Any) -> None:
    """Add the verbs of this module."""
    about = "one HTML page on which people tell two classes apart, with a model's answers beside theirs at the end"
    quiz = add_verb(verbs, "quiz", class_quiz, about)
    quiz.add_argument("name", help="a data set")
    text = "the second is looked for; of several labels an image one [the two that there are]"
    quiz.add_argument("--classes", nargs="+", default=[], metavar="CLASS", help=text)
    quiz.add_argument("--run", default="", metavar="RUN", help="a result: its out-of-fold answers are shown at the end")
    add_quiz_options(quiz)
    add_answers_verb(verbs)


def add_quiz_options(quiz: Any) -> None:
    """What every quiz has."""
    quiz.add_argument("--out", type=Path, help="the file to write [quiz_NAME.html in runs/ or runs/synth/]")
    quiz.add_argument("--count", type=int, default=40, help="images, half of each kind [40]")
    quiz.add_argument("--seed", type=int, default=0, help="another choice and order [0]")
    quiz.add_argument("--blind", action="store_true", help="say nothing before the end: a reader would learn from it")


def add_answers_verb(verbs: Any) -> None:
    """`answers`, here and under `synth`."""
    answers = add_verb(verbs, "answers", show_answers, "score the CSVs that readers saved from a quiz")
    answers.add_argument("files", nargs="+", type=Path, metavar="CSV", help="one for each reader")


def class_quiz(arguments: argparse.Namespace) -> None:
    """Write the quiz about two classes of a data set."""
    from chestfold.synth.study import class_quiz

    a = arguments
    write_page(class_quiz.class_quiz(a.name, a.classes, a.count, a.seed, a.blind, a.run), a.out)


def write_page(quiz: "Quiz", out: Path | None) -> None:
    """Write a quiz, and say where it is."""
    from chestfold.synth.study.quiz import write_quiz

    folder = runs_dir() / "synth" if quiz.kind == "synthetic" else runs_dir()
    path = out or folder / f"quiz_{quiz.name}.html"
    write_quiz(quiz, path)
    size = path.stat().st_size / 1e6
    say(f"wrote {path}: {len(quiz.questions)} images, {size:.1f} MB; open it in a browser, it needs no network")
    say("score what readers saved: chestfold answers CSV...")


def show_answers(arguments: argparse.Namespace) -> None:
    """Print the figures of each reader, and of all together."""
    from rich.table import Table

    from chestfold.synth.study.reader_figures import load_answers, read_answers, together

    readers = [(path.stem, load_answers(path)) for path in arguments.files]
    if len(readers) > 1:
        readers.append(("all together", together([answers for _, answers in readers])))
    head = ["reader", "images", "AUC", "accuracy", "sensitivity", "specificity", "d'", "p against guessing"]
    has_model = any(answers.model is not None for _, answers in readers)
    table = Table(*head, *(["AUC of the model", "reader - model"] if has_model else []))
    for name, answers in readers:
        cells = _cells(read_answers(answers))
        table.add_row(name, str(len(answers.is_signal)), *(cells if has_model else cells[:-2]))
    show(table)


def _cells(reading: "Reading") -> list[str]:
    scores = (reading.auc, reading.accuracy, reading.sensitivity, reading.specificity, reading.d_prime)
    texts = [_format(score) for score in scores]
    return [*texts, f"{reading.p_chance:.3f}", _format(reading.model_auc), _format(reading.against_model)]


def _format(score: "Score | None") -> str:
    return f"{score.value:.2f} [{score.low:.2f}, {score.high:.2f}]" if score else "-"
