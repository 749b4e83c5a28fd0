"""W&B runs, images, tables and artifacts, made out of the files in runs/ by a process of its own.

Called by `process`. Our files are the truth: what is lost here can be written again.
"""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import wandb

from chestfold.core import hooks
from chestfold.core.files import input_dir, runs_dir, sha256_file, sha256_json
from chestfold.core.run_folder import FoldConfig, FoldFolder
from chestfold.core.task import Task
from chestfold.data.cache import open_cache
from chestfold.data.catalogue import open_index
from chestfold.data.channels import grey_of
from chestfold.evaluate import leaderboard, predictions
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.results import Result, all_results, find_result
from chestfold.integrations.kaggle.submission import NOT_SENT, Standing, standings

PROJECT = "chestfold"
POLL = 2.0
WORST = 16
CONFIG_KEYS = ("data", "classes", "positive", "folds", "parent", "members", "method")
"""What a W&B run's config says of a result, besides its settings."""
GIVE_UP = 600.0
"""Seconds that a finished run still uploads; what is left then stays in runs/wandb for `wandb sync`."""


def open_run(mode: str, name: str, group: str, job_type: str, config: dict[str, Any], tags: list[str]) -> Any:
    """A W&B run below runs/wandb that tells nothing of this machine: no paths, no user, no command line."""
    settings = wandb.Settings(
        x_disable_machine_info=True,
        console="off",
        silent=True,
        symlink=False,
        program="chestfold",
        host="-",
        init_timeout=60,
        finish_timeout=GIVE_UP,
    )
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        name=name,
        id=sha256_json([name, config])[:16],
        resume="allow",
        group=group,
        job_type=job_type,
        tags=tags,
        config=config,
        mode=mode,  # type: ignore[arg-type]
        dir=runs_dir(),
        settings=settings,
    )
    for log in Path(run.dir).parent.glob("logs/*.log"):
        log.unlink()  # wandb's own log, which names folders; it writes on into a file that nobody sees
    run.log_artifact = partial(_log_relative, run.log_artifact)  # type: ignore[method-assign]
    return run


def _log_relative(log_artifact: Callable[..., Any], artifact: wandb.Artifact, *args: Any, **options: Any) -> Any:
    """A run's `log_artifact`, told of files by their paths below runs/, for tables too, which wandb itself logs.

    A W&B record names the files that are to be uploaded, and is kept. So it holds no home folder, and `wandb sync`
    works in any copy of runs/, on another machine too.
    """
    for entry in artifact.manifest.entries.values():
        entry.local_path = os.path.relpath(str(entry.local_path))
    return log_artifact(artifact, *args, **options)


def tags_of(settings: dict[str, Any]) -> list[str]:
    """What a run is filtered by: data, backbone and the parts of the recipe that are switched on."""
    switched = ("pretrained", "freeze", "randaugment", "mixup_alpha", "cutmix_alpha", "ema_decay")
    tags = [settings["data"], settings["backbone"], f"{settings['image_size']}px"]
    tags += [name.removesuffix("_alpha").removesuffix("_decay") for name in switched if settings.get(name)]
    return [tag[:64] for tag in tags]


def follow_fold(path: Path, mode: str, parent: int) -> None:
    """Log a fold's epochs as they come, then its predictions; ends with the fold or with the process that trains it."""
    folder = FoldFolder(path)
    config = folder.config()
    if config.settings.get("hooks"):
        hooks.load_own(config.settings["hooks"])  # it may have the reader of the data set
    name = config.experiment
    run = open_run(mode, f"{name}-{path.name}", name, "train", _run_config(config), tags_of(config.settings))
    shown = 0
    while True:
        finished = folder.manifest_path.exists()
        alive = os.getppid() == parent
        rows = folder.history()
        for row in rows[shown:]:
            run.log(row, step=row["epoch"])
        shown = len(rows)
        if finished or not alive:
            break
        time.sleep(POLL)
    if finished and folder.table_path("oof").exists():  # not of a training on all images
        _log_predictions(run, folder, config)
    run.finish(exit_code=0 if finished else 1)


def _run_config(config: FoldConfig) -> dict[str, Any]:
    changed = {name: f"{old} -> {new}" for name, (old, new) in config.changed.items()}
    about = {"fold": config.fold, "parent": config.parent, "changed": changed, "fingerprint": config.fingerprint}
    return config.settings | about


def _log_predictions(run: Any, folder: FoldFolder, config: FoldConfig) -> None:
    """Confusion matrix, ROC and PR curves, the worst errors, augmented inputs, and the OOF file itself."""
    table, _ = predictions.read(folder.table_path("oof"))
    shown = _curves(table, config.create_task())
    inputs = folder.path / "inputs.png"
    if inputs.exists():
        shown["augmented inputs"] = wandb.Image(str(inputs))
    worst = _worst_errors(config, table)
    if worst:
        shown["worst errors"] = worst
    run.log(shown)
    artifact = wandb.Artifact(f"{run.name}-oof".replace("@", "-"), "oof", metadata=dict(config.fingerprint))
    for kind in ("oof", "test"):
        path = folder.table_path(kind)
        if path.exists():
            artifact.add_file(str(path), policy="immutable", skip_cache=True)
            artifact.metadata[f"{path.name} sha256"] = sha256_file(path)
    run.log_artifact(artifact)


def _curves(table: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Confusion matrix and curves of exclusive classes; of several labels the curves of each."""
    labels: Any = task.labels(table["label"].tolist())
    probs: Any = predictions.probabilities(table)
    classes = list(task.classes)
    if task.sums_to_one:
        return {
            "confusion": wandb.plot.confusion_matrix(probs=probs, y_true=labels.tolist(), class_names=classes),
            "roc": wandb.plot.roc_curve(labels, probs, labels=classes),
            "pr": wandb.plot.pr_curve(labels, probs, labels=classes),
        }
    shown = {}
    positive: Any = [1]
    for number, name in enumerate(classes):
        known = ~np.isnan(labels[:, number])
        truth = labels[known, number].astype(int)
        scores: Any = np.stack([1 - probs[known, number], probs[known, number]], axis=1)
        names = [f"no {name}", name]
        shown[f"roc {name}"] = wandb.plot.roc_curve(truth, scores, labels=names, classes_to_plot=positive)
        shown[f"pr {name}"] = wandb.plot.pr_curve(truth, scores, labels=names, classes_to_plot=positive)
    return shown


def _worst_errors(config: FoldConfig, table: pd.DataFrame) -> list[wandb.Image]:
    """The images whose truth was given the lowest probability; none where the images are gone."""
    if not input_dir().is_dir():
        return []
    exp, task = config.exp(), config.create_task()
    index = open_index(exp.data)
    cache = open_cache(index, exp.image_size, exp.channels, exp.depth)
    probs = predictions.probabilities(table)
    of_truth = task.of_truth(probs, task.labels(table["label"].tolist()))
    shown = []
    for n in np.argsort(of_truth)[:WORST]:
        row = table.iloc[int(n)]
        caption = f"{row['id']}: {row['label']}, predicted {task.name_of(probs[n])} ({probs[n].max():.2f})"
        pixels = grey_of(index.dataset, cache.images[cache.rows([row["id"]])])[0]  # wandb casts what is not uint8
        shown.append(wandb.Image(pixels, caption=caption))
    return shown


def show_result_run(name: str, mode: str) -> None:
    """The run NAME-cv of an experiment, or the `ensemble` run of a blend; its summary: scores with intervals."""
    result = find_result(name)
    record = result.record
    about = record.to_dict()
    config = {key: about[key] for key in CONFIG_KEYS if about.get(key)} | record.settings
    if record.kind == "experiment":
        run = open_run(mode, f"{name}-cv", name, "cv", config, [record.data])
    else:
        run = open_run(mode, name, name, record.kind, config, [record.data])
    run.summary.update(summary_of(result))
    run.finish()


def summary_of(result: Result) -> dict[str, float | str]:
    """`auc`, `auc low`, `auc high`, ... for every score of a result, and its leaderboard scores where it has some."""
    record = result.record
    summary: dict[str, float | str] = {"folds": str(record.folds), "minutes": record.minutes}
    for metric in record.scores.at_half:
        _add(summary, metric, result.score("at_half", metric))
        _add(summary, f"tuned {metric}", result.score("cross_fitted", metric))
    _add(summary, "corrupted auc", result.score("corrupted", "auc"))
    public, private = lb_texts(standings([result]).get(result.name, NOT_SENT))
    return summary | {"LB public": public, "LB private": private}


def _add(summary: dict[str, float | str], name: str, score: Score | None) -> None:
    if score:
        summary |= {name: score.value, f"{name} low": score.low, f"{name} high": score.high}


def lb_texts(standing: Standing) -> list[str]:
    """Public and private score of a submission, `-` for one that is not known."""
    return ["-" if score is None else f"{score:g}" for score in (standing.public, standing.private)]


LEADERBOARD = ("data", "folds", "parent", *leaderboard.HEADER, "LB public", "LB private")


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


def show_leaderboard(mode: str) -> None:
    """The `leaderboard` run: one table, rebuilt from the files."""
    rows = leaderboard_rows()
    run = open_run(mode, "leaderboard", "leaderboard", "leaderboard", {"rows": len(rows)}, [])
    run.log({"leaderboard": wandb.Table(dataframe=pd.DataFrame(rows, columns=LEADERBOARD))})
    run.finish()
