"""Do our 95 % intervals hold the truth 95 times in 100? Out-of-fold tables are drawn whose truth is known.

    python benchmarks/coverage.py [--auc 0.95] [--seed 0] [--tables 300] [--quick]

An image's score is normal, with variance 1 and mean 0 or `shift` (bi-normal), plus an offset of its fold; a part of its
variance is the patient's. A probability is what the score means by Bayes' rule, as if there were no offsets. So AUC,
sensitivity, specificity, precision, F1, accuracy, Brier score and log loss of the population are known, of two models
with correlated scores too. Half of the pairs of models are equally good, the others differ by a shift that is drawn.
Patients and images are as in the fold files. The intervals are those of the product.

Prints a table, for each setting how many of 100 intervals hold the truth (their Monte Carlo error is a binomial one),
of claims how often a probability below 0.05 is given where there is no difference (it should be in 10 of 100: a claim
has two directions), and one JSON line with a percentage and its error each. `--quick` draws two tables of a setting.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from chestfold.core.console import progress, say
from chestfold.core.rng import generator
from chestfold.core.task import create_task
from chestfold.evaluate import bootstrap
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.metrics import METRICS, evaluate
from chestfold.evaluate.paired import Gain, Paired, gains_of

TASK = create_task("multiclass", ("well", "ill"), "ill")
NAMES = ("auc", "precision", "recall", "specificity", "f1", "accuracy", "brier", "log_loss")
SCORED = {name: METRICS[name] for name in NAMES}
OFFSETS = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
"""Of the scores of each fold's model."""
OF_PATIENT = 0.3
"""Share of a score's variance that the images of a patient have in common."""
ALIKE = 0.8
"""Correlation of the two models' scores."""
PROPENSITY = 4
"""Of Beta(4 p, 4 (1 - p)), from which the share of ill images of a patient comes who has both kinds."""
WIDE = 5
"""The shifts that are drawn have so many standard errors as their deviation: nearly any difference is possible."""
FALSE_BELOW = 0.05
CLAIMS = {
    "by agreement": ("recall", "specificity", "accuracy"),
    "by standard error": ("auc", "precision", "f1", "brier", "log_loss"),
}
"""How the probability that a claim is false is found, and for which metrics."""
XRAY = Path(__file__).resolve().parents[1] / "folds" / "chest_xray.csv"


@dataclass(frozen=True)
class Setting:
    """Patients with their images. `mixed`: a patient has images of both kinds; else all are of one."""

    title: str
    sizes: np.ndarray
    prevalence: float
    mixed: bool


def settings() -> list[Setting]:
    """Those of the fold files, and small ones."""
    xray = pd.read_csv(XRAY, dtype=str).groupby("group").size().to_numpy()
    found = []
    for prevalence in (0.5, 0.17, 0.05, 0.02):
        found.append(Setting("3669 patients, 5232 images", xray, prevalence, mixed=False))
        found.append(Setting("160 patients, 6400 patches", np.full(160, 40), prevalence, mixed=True))
    for prevalence in (0.5, 0.17, 0.05):
        found.append(Setting("80 patients, 320 images", np.full(80, 4), prevalence, mixed=True))
    for prevalence in (0.5, 0.17):
        found.append(Setting("30 patients, 60 images", np.full(30, 2), prevalence, mixed=False))
    return found


def draw_labels(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """Whether each image is ill, int (N,)."""
    p = setting.prevalence
    if setting.mixed:
        share = rng.beta(PROPENSITY * p, PROPENSITY * (1 - p), len(setting.sizes))
    else:
        share = (rng.random(len(setting.sizes)) < p).astype(float)
    of_images = np.repeat(share, setting.sizes)
    return (rng.random(len(of_images)) < of_images).astype(int)


def draw_noise(setting: Setting, rng: np.random.Generator) -> np.ndarray:
    """What two models add to the mean of each image's score, float (2, N): of variance 1."""
    of_patient = _alike(rng, len(setting.sizes))
    of_image = _alike(rng, int(setting.sizes.sum()))
    return np.sqrt(OF_PATIENT) * np.repeat(of_patient, setting.sizes, axis=1) + np.sqrt(1 - OF_PATIENT) * of_image


def _alike(rng: np.random.Generator, count: int) -> np.ndarray:
    first, second = rng.normal(size=(2, count))
    return np.stack([first, ALIKE * first + np.sqrt(1 - ALIKE**2) * second])


def draw_shift(setting: Setting, shift: float, rng: np.random.Generator) -> float:
    """The other model's shift: in half of the tables the same."""
    if rng.random() < 0.5:
        return shift
    ill = setting.prevalence * (setting.sizes.sum() if setting.mixed else len(setting.sizes))
    error = np.sqrt(2 * (1 - ALIKE) / ill)
    return max(0.3, shift + float(rng.normal(0, WIDE * error)))


def log_odds(scores: np.ndarray, shift: float, prevalence: float) -> np.ndarray:
    """Of being ill, given a score (Bayes' rule)."""
    return shift * scores - shift**2 / 2 + logit(prevalence)


def truth_of(shift: float, prevalence: float) -> dict[str, float]:
    """Metric -> its value in the population: the mean over the folds' models."""
    threshold = (shift**2 / 2 - logit(prevalence)) / shift
    sensitivity = float(norm.sf(threshold - shift - OFFSETS).mean())
    alarms = float(norm.sf(threshold - OFFSETS).mean())
    hits, false_alarms = prevalence * sensitivity, (1 - prevalence) * alarms
    brier, log_loss = _losses(shift, prevalence)
    return {
        "auc": float(norm.cdf((shift + OFFSETS[:, None] - OFFSETS) / np.sqrt(2)).mean()),
        "precision": hits / (hits + false_alarms),
        "recall": sensitivity,
        "specificity": 1 - alarms,
        "f1": 2 * hits / (hits + false_alarms + prevalence),
        "accuracy": hits + (1 - prevalence) * (1 - alarms),
        "brier": brier,
        "log_loss": log_loss,
    }


def _losses(shift: float, prevalence: float) -> tuple[float, float]:
    """Brier score of the ill class and log loss, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum() / len(OFFSETS)
    brier = log_loss = 0.0
    for mean, share, sign in ((0.0, 1 - prevalence, 1), (shift, prevalence, -1)):
        odds = sign * log_odds(nodes[:, None] + mean + OFFSETS, shift, prevalence)
        brier += share * float((weights @ expit(odds) ** 2).sum())
        log_loss += share * float((weights @ np.logaddexp(0, odds)).sum())
    return brier, log_loss


def probabilities(scores: np.ndarray, shift: float, prevalence: float) -> np.ndarray:
    """Of the two classes, float (N, 2)."""
    ill = expit(log_odds(scores, shift, prevalence))
    return np.stack([1 - ill, ill], axis=1)


@dataclass(frozen=True)
class Drawn:
    """Two models' predictions of the same images, and the truth about both: metric -> value."""

    paired: Paired
    ours: dict[str, float]
    theirs: dict[str, float]


def draw_table(setting: Setting, shift: float, rng: np.random.Generator) -> Drawn:
    """An out-of-fold table of five folds."""
    patients = len(setting.sizes)
    labels, noise = draw_labels(setting, rng), draw_noise(setting, rng)
    groups = np.repeat(np.arange(patients), setting.sizes)
    folds = np.repeat(rng.permutation(patients) % len(OFFSETS), setting.sizes)
    shifts = (shift, draw_shift(setting, shift, rng))
    sides = []
    for mean, error in zip(shifts, noise, strict=True):
        sides.append(probabilities(mean * labels + OFFSETS[folds] + error, mean, setting.prevalence))
    texts = np.array(TASK.classes)[labels]
    table = pd.DataFrame({"id": np.arange(len(labels)), "group": groups, "fold": folds, "label": texts})
    paired = Paired(TASK, METRICS["auc"], tuple(range(len(OFFSETS))), table, *sides)
    ours, theirs = (truth_of(mean, setting.prevalence) for mean in shifts)
    return Drawn(paired, ours, theirs)


class Counted:
    """How many intervals hold the truth, and how many claims are false."""

    def __init__(self) -> None:
        self.inside: dict[str, list[bool]] = defaultdict(list)
        self.of_equals: dict[str, list[bool]] = defaultdict(list)
        self.claims: dict[str, list[tuple[float, bool]]] = defaultdict(list)

    def count(self, drawn: Drawn, figures: Mapping[str, Score], gains: Mapping[str, Gain]) -> None:
        """The figures of ours, and what ours gains."""
        for name, metric in SCORED.items():
            self._hold(name, figures[name], drawn.ours[name])
            gain = gains[name]
            truth = metric.gain(drawn.ours[name]) - metric.gain(drawn.theirs[name])
            self._hold(f"{name} gained", gain.score, truth)
            if np.isnan(gain.score.value):
                continue
            if truth == 0:
                self.of_equals[name].append(gain.p_false < FALSE_BELOW)
            elif gain.score.value:
                self.claims[name].append((gain.p_false, truth * gain.score.value < 0))

    def _hold(self, name: str, score: Score, truth: float) -> None:
        if not np.isnan(score.value):
            self.inside[name].append(bool(score.low <= truth <= score.high))


def percent(hits: Sequence[bool]) -> list[float]:
    """A share of 100, and its binomial error."""
    share = float(np.mean(hits))
    return [round(100 * share, 1), round(100 * float(np.sqrt(share * (1 - share) / len(hits))), 1)]


def count(setting: Setting, auc: float, seed: int, tables: int) -> Counted:
    """Draw tables and look at their intervals."""
    shift = float(np.sqrt(2) * norm.ppf(auc))
    counted = Counted()
    for number in range(tables):
        rng = generator("coverage", setting.title, str(setting.prevalence), str(auc), seed, number)
        drawn = draw_table(setting, shift, rng)
        figures = evaluate(drawn.paired.at_half[0], drawn.paired.groups, SCORED)
        counted.count(drawn, figures, gains_of(drawn.paired, SCORED, drawn.paired.at_half))
    return counted


def tables_of(found: list[tuple[Setting, Counted]]) -> list[str]:
    """The lines of three tables: figures, differences, claims."""
    lines = []
    for suffix, title in (("", "figures"), (" gained", "differences of two models")):
        lines += ["", f"{title}: percent of the intervals that hold the truth", _line("", NAMES)]
        for setting, counted in found:
            lines.append(_line(_title(setting), [_cell(counted.inside[name + suffix]) for name in NAMES]))
    lines += ["", f"two equal models: percent of the claims with p false < {FALSE_BELOW}; nominal 10", _line("", NAMES)]
    for setting, counted in found:
        lines.append(_line(_title(setting), [_cell(counted.of_equals[name]) for name in NAMES]))
    for title, names in CLAIMS.items():
        lines += ["", f"models that differ, {title}: p false given, and percent of the claims that are false"]
        for name, low, high in bins():
            given, false = in_bin(found, names, low, high)
            mean = f"{100 * np.mean(given):5.1f}" if given else "-"
            lines.append(f"{name:14} {len(given):6} claims   given {mean}   false {_cell(false)}")
    return lines


def _title(setting: Setting) -> str:
    return f"{setting.title}, {setting.prevalence:.0%} ill"


def _line(title: str, cells: Sequence[str]) -> str:
    return f"{title:36}" + "".join(f"{cell:>12}" for cell in cells)


def _cell(hits: list[bool]) -> str:
    return "{:.1f} ± {:.1f}".format(*percent(hits)) if hits else "-"


def bins() -> list[tuple[str, float, float]]:
    """Of a probability that a claim is false."""
    edges = (0.0, 0.01, FALSE_BELOW, 0.1, 0.2, 0.3, 0.4, 1.0)
    return [(f"{low:g} to {high:g}", low, high) for low, high in pairwise(edges)]


def in_bin(
    found: list[tuple[Setting, Counted]], names: Sequence[str], low: float, high: float
) -> tuple[list[float], list[bool]]:
    """Claims about models that differ, in some metrics, with a probability in a bin: it, and which are false."""
    given, false = [], []
    for _, counted in found:
        for name in names:
            for p_false, is_false in counted.claims[name]:
                if low <= p_false < high:
                    given.append(p_false)
                    false.append(is_false)
    return given, false


def as_json(found: list[tuple[Setting, Counted]]) -> dict[str, object]:
    """All counts: a percentage and its Monte Carlo error."""
    of_settings: dict[str, dict[str, dict[str, list[float]]]] = {}
    for setting, counted in found:
        of_settings[_title(setting)] = {
            "intervals": {name: percent(hits) for name, hits in counted.inside.items() if hits},
            "equals": {name: percent(hits) for name, hits in counted.of_equals.items() if hits},
        }
    claims: dict[str, dict[str, list[float]]] = {}
    for title, names in CLAIMS.items():
        claims[title] = {}
        for name, low, high in bins():
            given, false = in_bin(found, names, low, high)
            if given:
                claims[title][name] = [round(100 * float(np.mean(given)), 1), *percent(false)]
    return {"settings": of_settings, "claims": claims}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--auc", type=float, default=0.95, help="of the models; the other one differs from it")
    parser.add_argument("--seed", type=int, default=0, help="of the tables")
    parser.add_argument("--tables", type=int, default=300, help="of each setting")
    parser.add_argument("--quick", action="store_true", help="two tables, 20 replicates: does it run at all")
    arguments = parser.parse_args()
    tables = arguments.tables
    if arguments.quick:
        tables, bootstrap.REPLICATES = 2, 20
    found = []
    every = settings()
    for setting in progress(every, "tables", len(every)):
        found.append((setting, count(setting, arguments.auc, arguments.seed, tables)))
    say("\n".join(tables_of(found)))
    about = {"benchmark": "coverage", "auc": arguments.auc, "seed": arguments.seed, "tables": tables}
    say(json.dumps(about | as_json(found)))


if __name__ == "__main__":
    main()
