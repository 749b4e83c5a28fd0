"""What `chestfold compare` prints: for people in lines that fit into their terminal, for programs as JSON or CSV."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd
from rich.text import Text

from chestfold.core.console import plural
from chestfold.core.fitted_table import Cell, FittedTable, Note
from chestfold.evaluate import claims
from chestfold.evaluate.bootstrap import UNDEFINED, Score
from chestfold.evaluate.leaderboard import format_value
from chestfold.evaluate.versus import OF_TRUTH, TUNED_SUFFIX, Change, Figure, Part, Versus

STYLES = {"better": "green", "worse": "red", "not told apart": ""}
FALSE = "P(false)"
MEANING = (
    "P(false): the probability that the claim in the direction of the gain is false (arXiv 2505.04720; of an AUC by "
    "the error of the paired bootstrap)."
)
TUNED = "tuned: at thresholds that were chosen on the other folds."


def lines(found: Versus, width: int) -> list[Text]:
    """Settings, figures, images and parts, one under the other, in lines of at most `width` characters."""
    tables = [_settings(found), _figures(found), _images(found)]
    if found.parts:
        tables.append(_parts(found))
    shown: list[Text] = []
    for table in tables:
        shown += [*_lines_of(table, width), Text()]
    return shown


def _lines_of(table: FittedTable, width: int) -> list[Text]:
    """Without rows only what stands above."""
    if table.rows:
        return table.lines(width)
    return FittedTable(("",), (), needed=("",), above=table.above).lines(width)[: len(table.above)]


def _settings(found: Versus) -> FittedTable:
    rows = []
    for name, (ours, theirs) in found.settings.items():
        rows.append({"setting": Cell(name), found.ours: _value(ours), found.theirs: _value(theirs)})
    above = [Note(f"{found.ours} against {found.theirs}", "bold"), *map(Note, found.notes)]
    if not rows:
        above.append(Note("no setting differs"))
    columns = ("setting", found.ours, found.theirs)
    return FittedTable(columns, rows, needed=columns, words=columns, above=above)


def _value(value: Any) -> Cell:
    return Cell(UNDEFINED if value is None else format_value(value) or '""')


def _figures(found: Versus) -> FittedTable:
    rows = [_figure_cells(found, figure) for figure in found.figures]
    columns = ("figure", found.ours, found.theirs, "gain", "verdict", FALSE)
    who = f"on {found.scope}, {plural(found.patients, 'patient')}; a gain above 0: {found.ours} is better"
    tuned = any(figure.name.endswith(TUNED_SUFFIX) for figure in found.figures)
    below = [Note(TUNED), Note(MEANING)] if tuned else [Note(MEANING)]
    return FittedTable(columns, rows, columns, words=("figure", "verdict"), above=[Note(who)], below=below)


def _figure_cells(found: Versus, figure: Figure) -> dict[str, Cell]:
    verdict = claims.verdict_of(figure.gain)
    return {
        "figure": Cell(figure.title),
        found.ours: Cell(_number(figure.ours)),
        found.theirs: Cell(_number(figure.theirs)),
        "gain": _with_doubt(figure.gain.format_gain(), STYLES[verdict]),
        "verdict": Cell(verdict),
        FALSE: Cell(claims.in_words(figure.p_false)),
    }


def _number(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.4f}"


def _with_doubt(text: str, style: str = "") -> Cell:
    """A figure, and its interval as what may stand under it."""
    value, bracket, interval = text.partition(" [")
    return Cell(value, f"[{interval}" if bracket else "", style)


def _images(found: Versus) -> FittedTable:
    sides = found.sides
    count = sides.only_ours + sides.only_theirs + sides.neither
    text = (
        f"{plural(count, 'image')} changed sides: {sides.only_ours} right by {found.ours} only, {sides.only_theirs} by "
        f"{found.theirs} only"
    )
    if sides.neither:
        text += f", {sides.neither} wrong by both, each in another way"
    if count:
        shown = len(sides.most_changed)
        which = f"the {shown} with the largest change" if shown < count else "they are"
        text += f"; {which}, with {found.probability} by each:"
    rows = [_change_cells(change, found) for change in sides.most_changed]
    needed = ("image", "truth", found.ours, found.theirs)
    words = ("image", "truth", "right")
    return FittedTable((*needed, "right"), rows, needed, further=("right",), words=words, above=[Note(text)])


def _change_cells(change: Change, found: Versus) -> dict[str, Cell]:
    who = {"ours": found.ours, "theirs": found.theirs, "neither": "neither"}
    says = ("", "")  # of two classes the probability says it
    if found.probability == OF_TRUTH:
        says = (change.ours_says, change.theirs_says)
    return {
        "image": Cell(change.image_id),
        "truth": Cell(change.truth),
        found.ours: Cell(f"{change.ours:.3f}", says[0]),
        found.theirs: Cell(f"{change.theirs:.3f}", says[1]),
        "right": Cell(who[change.right]),
    }


PART_FIGURES = {"recall": "sensitivity", "specificity": "specificity", "auc": "AUC"}
"""Field of `SubgroupScores` -> title."""


def _parts(found: Versus) -> FittedTable:
    rows = []
    for part in found.parts:
        rows += list(_part_cells(found, part))
    needed = ("part", "figure", found.ours, found.theirs)
    above = [Note("parts of the images, at 0.5")]
    columns = ("part", "images", *needed[1:])
    return FittedTable(columns, rows, needed, further=("images",), words=("part", "figure"), above=above)


def _part_cells(found: Versus, part: Part) -> Iterable[dict[str, Cell]]:
    """A row for each figure that the part has."""
    for field, title in PART_FIGURES.items():
        ours, theirs = getattr(part.ours, field), getattr(part.theirs, field)
        if ours is None and theirs is None:
            continue
        against_all = " against all others" if field == "auc" and part.ours.auc_against_all else ""
        yield {
            "part": Cell(f"{part.title} {part.value}"),
            "images": Cell(str(part.ours.images)),
            "figure": Cell(title + against_all),
            found.ours: _with_doubt(_text(ours)),
            found.theirs: _with_doubt(_text(theirs)),
        }


def _text(score: Score | None) -> str:
    return UNDEFINED if score is None else str(score)


def as_json(many: Sequence[Versus]) -> str:
    """A list, with everything that is shown; a figure that is not defined is null."""
    plain = []
    for found in many:
        values = asdict(found)
        for part, of_part in zip(found.parts, values["parts"], strict=True):
            of_part["ours"], of_part["theirs"] = part.ours.to_dict(), part.theirs.to_dict()
        plain.append(values)
    text = json.dumps(plain)
    return json.dumps(json.loads(text, parse_constant=lambda _: None), indent=2, ensure_ascii=False)


def as_csv(many: Sequence[Versus]) -> str:
    """A row for each figure."""
    rows = []
    for found in many:
        about = {"ours": found.ours, "theirs": found.theirs, "images": found.images, "patients": found.patients}
        for figure in found.figures:
            row = about | {"figure": figure.title, "of ours": figure.ours, "of theirs": figure.theirs}
            row |= {"gain": figure.gain.value, "gain low": figure.gain.low, "gain high": figure.gain.high}
            rows.append(row | {"verdict": claims.verdict_of(figure.gain), "p_false": figure.p_false})
    return pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n").removesuffix("\n")


FORMATS = {"json": as_json, "csv": as_csv}
"""Option of the command -> what makes its text."""
