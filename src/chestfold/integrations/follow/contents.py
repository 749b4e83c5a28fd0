"""What is to be shown of a fold, of a result and of all results: read from runs/, the same for every tracker."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chestfold.core.files import input_dir, runs_dir, sha256_file, sha256_json
from chestfold.core.run_folder import FoldConfig, FoldFolder
from chestfold.core.task import Task
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import grey_of
from chestfold.evaluate import leaderboard, predictions
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.results import all_results, find_result
from chestfold.integrations.kaggle.submission import NOT_SENT, Standing, standings

WORST = 16
"""Images that are shown of those whose truth was given the lowest probability."""
CONFIG_KEYS = ("data", "classes", "positive", "folds", "parent", "members", "method")
"""What is said of a result, besides its settings."""
LEADERBOARD = ("data", "folds", "parent", *leaderboard.HEADER, "LB public", "LB private")


@dataclass(frozen=True)
class About:
    """A run at a tracker. `folder`: where it is noted what was sent of it; `kind`: train, cv, ensemble, leaderboard."""

    folder: Path
    name: str
    group: str
    kind: str
    config: dict[str, Any]
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """Pixels, uint8 (H, W), and what they are."""

    pixels: np.ndarray
    caption: str


class FoldContents:
    """A fold that trains or is finished."""

    def __init__(self, path: Path) -> None:
        self.folder = FoldFolder(path)
        self.config: FoldConfig = self.folder.config()
        if self.config.settings.get("hooks"):
            self.folder.load_hooks()  # they may have the reader of the data set

    @property
    def about(self) -> About:
        """Its run: the settings, what was changed, the hashes of its data."""
        config, name = self.config, self.config.experiment
        changed = {setting: f"{old} -> {new}" for setting, (old, new) in config.changed.items()}
        more = {"fold": config.fold, "parent": config.parent, "changed": changed, "fingerprint": config.fingerprint}
        title = f"{name}-{self.folder.path.name}"
        return About(self.folder.path, title, name, "train", config.settings | more, tuple(tags_of(config.settings)))

    @property
    def is_finished(self) -> bool:
        """Whether its manifest is there."""
        return self.folder.manifest_path.exists()

    @property
    def content(self) -> str:
        """Hash of all that is to be shown; only of a finished fold."""
        return sha256_file(self.folder.manifest_path)

    @property
    def has_predictions(self) -> bool:
        """Whether images were held out, which a training on all images has none of."""
        return self.folder.table_path("oof").exists()

    def rows(self) -> list[dict[str, Any]]:
        """The figures of each epoch so far."""
        return self.folder.history()

    def task(self) -> Task:
        """What labels and probabilities mean."""
        return self.config.create_task()

    def table(self) -> pd.DataFrame:
        """The out-of-fold predictions."""
        return predictions.read(self.folder.table_path("oof"))[0]

    def files(self) -> list[Path]:
        """The prediction tables."""
        paths = [self.folder.table_path(kind) for kind in ("oof", "test")]
        return [path for path in paths if path.exists()]

    def inputs(self) -> Path | None:
        """The picture of augmented inputs."""
        path = self.folder.path / "inputs.png"
        return path if path.exists() else None

    def worst_errors(self) -> Iterator[Picture]:
        """The images whose truth was given the lowest probability; none where the images are gone."""
        if not input_dir().is_dir():
            return
        exp, task, table = self.config.exp(), self.task(), self.table()
        index = open_index(exp.data)
        cache = open_cache(index, exp.image_size, exp.channels, exp.depth)
        probs = predictions.probabilities(table)
        of_truth = task.of_truth(probs, task.labels(table["label"].tolist()))
        for n in np.argsort(of_truth)[:WORST]:
            row = table.iloc[int(n)]
            caption = f"{row['id']}: {row['label']}, predicted {task.name_of(probs[n])} ({probs[n].max():.2f})"
            yield Picture(grey_of(index.dataset, cache.images[cache.rows([row["id"]])])[0], caption)


def tags_of(settings: dict[str, Any]) -> list[str]:
    """What a run is filtered by: data, backbone and the parts of the recipe that are switched on."""
    switched = ("pretrained", "freeze", "randaugment", "mixup_alpha", "cutmix_alpha", "ema_decay")
    tags = [settings["data"], settings["backbone"], f"{settings['image_size']}px"]
    tags += [name.removesuffix("_alpha").removesuffix("_decay") for name in switched if settings.get(name)]
    return [tag[:64] for tag in tags]


class ResultContents:
    """A collected run, or a blend."""

    def __init__(self, name: str) -> None:
        self.result = find_result(name)

    @property
    def about(self) -> About:
        """NAME-cv of an experiment, NAME of a blend."""
        record = self.result.record
        facts = record.to_dict()
        config = {key: facts[key] for key in CONFIG_KEYS if facts.get(key)} | record.settings
        alone = record.kind == "experiment"
        kind, title = ("cv", f"{self.result.name}-cv") if alone else (record.kind, self.result.name)
        return About(runs_dir() / self.result.name, title, self.result.name, kind, config, (record.data,))

    @property
    def content(self) -> str:
        """Hash of all that is to be shown."""
        return sha256_json([self.about.config, self.summary()])

    def summary(self) -> dict[str, float | str]:
        """`auc`, `auc low`, `auc high`, ... for every score, and its leaderboard scores where it has some."""
        result, record = self.result, self.result.record
        summary: dict[str, float | str] = {"folds": str(record.folds), "minutes": record.minutes}
        for metric in record.scores.at_half:
            summary |= _figures(metric, result.score("at_half", metric))
            summary |= _figures(f"tuned {metric}", result.score("cross_fitted", metric))
        summary |= _figures("corrupted auc", result.score("corrupted", "auc"))
        public, private = lb_texts(standings([result]).get(result.name, NOT_SENT))
        return summary | {"LB public": public, "LB private": private}


def _figures(name: str, score: Score | None) -> dict[str, float | str]:
    return {name: score.value, f"{name} low": score.low, f"{name} high": score.high} if score else {}


def lb_texts(standing: Standing) -> list[str]:
    """Public and private score of a submission, `-` for one that is not known."""
    return ["-" if score is None else f"{score:g}" for score in (standing.public, standing.private)]


class LeaderboardContents:
    """The board: a row for each result, made anew from the files."""

    def __init__(self) -> None:
        self.rows = leaderboard_rows()

    @property
    def about(self) -> About:
        """One run for all of runs/."""
        return About(runs_dir(), "leaderboard", "leaderboard", "leaderboard", {})

    @property
    def content(self) -> str:
        """Hash of all that is to be shown."""
        return sha256_json(self.rows)

    def table(self) -> pd.DataFrame:
        """The texts of `chestfold board`."""
        return pd.DataFrame(self.rows, columns=LEADERBOARD)


def leaderboard_rows() -> list[list[str]]:
    """The board as texts, in the order of `LEADERBOARD`: from files alone."""
    results = all_results()
    sent = standings(results)
    rows = []
    for lines in leaderboard.rows_by_folds(results).values():
        for line in lines:
            record = line.result.record
            scores = lb_texts(sent.get(line.result.name, NOT_SENT))
            texts = leaderboard.texts_of(line)
            cells = [texts[name] for name in leaderboard.HEADER]
            rows.append([record.data, str(record.folds), record.parent or "-", *cells, *scores])
    return rows
