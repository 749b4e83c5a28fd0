"""The tables of the texts that this project grew out of, with our measured figures beside theirs.

Theirs are facts copied from the texts; ours come from results alone: a result belongs to the line of its experiment,
`exp010`, and so do the variants of that experiment, `exp010-mobilenetv2`. What could not be run says why.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table

from chestfold.core.files import published_dir, runs_dir
from chestfold.evaluate.leaderboard import short
from chestfold.evaluate.results import Result, all_results, format_folds, not_run

FIGURES = ("auc", "precision", "recall", "f1", "accuracy")
HEADER = ("what", "whose", "run", "AUC", "precision", "recall", "F1", "accuracy")


@dataclass(frozen=True)
class Line:
    """A line of a source's table: what was done, their figures, and the experiment that does it here."""

    what: str
    experiment: str
    theirs: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceTable:
    """A table of a source; `note` says what a reader must know to compare."""

    title: str
    note: str
    lines: tuple[Line, ...]


NODULES = (
    "Theirs: CT slices of their own, and their positive class was in truth Not_Nodule, the second folder of the "
    "alphabet. Ours: luna16_patches, out-of-fold, positive is nodule."
)
TABLES = (
    SourceTable(
        "Six backbones on CT nodules, one recipe without augmentation",
        NODULES + " The text gives its figures by augmentation (next table).",
        (
            Line("VGG16", "exp004"),
            Line("DenseNet-121", "exp005"),
            Line("DenseNet-169", "exp006"),
            Line("ResNet-18", "exp007"),
            Line("ResNet-50", "exp008"),
            Line("EfficientNet-B0", "exp009"),
            Line("EfficientNet-B0 written from scratch", "exp014"),
        ),
    ),
    SourceTable(
        "Mixup and RandAugment on EfficientNet",
        NODULES,
        (
            Line("standard", "exp009", {"auc": 0.889}),
            Line("Mixup", "exp010", {"auc": 0.883}),
            Line("RandAugment", "exp011", {"auc": 0.912}),
            Line("both", "exp013", {"auc": 0.888}),
        ),
    ),
    SourceTable(
        "The sources' best: EfficientNet-B2 at 260 px with Mixup and RandAugment",
        NODULES,
        (
            Line(
                "EfficientNet-B2",
                "exp012",
                {"auc": 0.971, "precision": 0.894, "recall": 0.933, "f1": 0.913, "accuracy": 0.911},
            ),
        ),
    ),
    SourceTable(
        "First courses on the children's X-rays",
        "Theirs: VGG16 on a part of the images; the CNN on the official test images, whose labels are withheld here. "
        "Ours: chest_xray, out-of-fold, positive is PNEUMONIA; out-of-fold is easier than that test.",
        (
            Line("VGG16, frozen, 300 + 300 images at 50 px", "exp003", {"accuracy": 0.8226}),
            Line(
                "CNN of five blocks",
                "exp002",
                {"precision": 0.8976, "recall": 0.9667, "f1": 0.9309, "accuracy": 0.9103},
            ),
        ),
    ),
    SourceTable(
        "The number of classes against accuracy",
        "Out-of-fold. Four classes: the source of an image gives COVID-19 away (adults, another hospital), so that "
        "this accuracy says little about the disease.",
        (
            Line("2: normal, pneumonia", "exp021"),
            Line("3: normal, bacterial, viral", "exp019"),
            Line("4: and COVID-19", "exp020"),
        ),
    ),
    SourceTable(
        "Class imbalance, 1 : 5",
        "Ours: luna16_patches, out-of-fold, at threshold 0.5, which the four answers move in different ways.",
        (
            Line("nothing", "exp009"),
            Line("over-sampling", "exp017"),
            Line("under-sampling", "exp018"),
            Line("class weights", "exp027"),
        ),
    ),
    SourceTable(
        "What a competitor would run today",
        "Ours: chest_xray, out-of-fold; strong augmentation, which pays on the shifted test set, not here.",
        (
            Line("ConvNeXt-Tiny", "exp022"),
            Line("EfficientNetV2-S", "exp023"),
            Line("SE-ResNet-50", "exp024"),
            Line("Swin-Tiny", "exp025"),
            Line("ViT-Small", "exp026"),
        ),
    ),
)


def lines_of(table: SourceTable, results: dict[str, Result], stopped: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The texts of a table, in the order of `HEADER`; `stopped`: name -> not_run.json."""
    return [cells for line in table.lines for cells in _lines(line, results, stopped)]


def _lines(line: Line, results: dict[str, Result], stopped: dict[str, dict[str, Any]]) -> Iterator[list[str]]:
    if line.theirs:
        figures = [f"{line.theirs[name]:.4g}" if name in line.theirs else "-" for name in FIGURES]
        yield [line.what, "source", "-", *figures]
    names = sorted(name for name in {**results, **stopped} if _belongs(name, line.experiment))
    for name in names:
        if name in results:
            scores = [str(results[name].score("at_half", figure)) for figure in FIGURES]
            yield [line.what, name, run_in_words(results[name].about), *scores]
        else:
            yield [line.what, name, f"not run: {stopped[name]['why']}", *["-"] * len(FIGURES)]
    if not names:
        yield [line.what, line.experiment, "not run", *["-"] * len(FIGURES)]


def _belongs(name: str, experiment: str) -> bool:
    return not name.endswith("-debug") and (name == experiment or name.startswith((f"{experiment}-", f"{experiment}@")))


def run_in_words(about: dict[str, Any]) -> str:
    """At which size, for how many epochs and on which folds a result was trained, and how a variant differs."""
    settings = about["settings"]
    epochs = settings["epochs"]
    text = f"{settings['image_size']} px, {epochs} epoch{'s' * (epochs > 1)}, {format_folds(about)}"
    if "@" in about["name"]:
        text += f", data {about['data']}"
    if not about["name"].startswith(f"{about['parent']}-"):
        return f"{text}, as written"
    others = {k: v[1] for k, v in about["changed"].items() if k not in ("image_size", "epochs")}
    return ", ".join([text, *(f"{k} {short(value)}" for k, value in others.items())])


def shown(results: dict[str, Result], stopped: dict[str, dict[str, Any]]) -> list[tuple[SourceTable, list[list[str]]]]:
    """All tables, each with its lines."""
    return [(table, lines_of(table, results, stopped)) for table in TABLES]


def terminal_tables() -> list[Table]:
    """The tables with all that lies in runs/ and exps/results/, for a terminal; intervals stand under their figures."""
    drawn = []
    results = {r.name: r for r in all_results()}
    for source, rows in shown(results, not_run(published_dir()) | not_run(runs_dir())):
        table = Table(title=source.title, caption=source.note, title_justify="left", box=SIMPLE, padding=(0, 1))
        for name in HEADER:
            words = name in ("what", "whose", "run")
            table.add_column(name, justify="left" if words else "right", min_width=0 if words else 9)
        for row in rows:
            table.add_row(*[escape(text.replace(" [", "\n[")) for text in row], end_section=True)
        drawn.append(table)
    return drawn
