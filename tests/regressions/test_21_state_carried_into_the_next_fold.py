"""Bug: weights, optimizer moments or the best score of early stopping were carried from one fold into the next, which
had then seen its own validation images.

Here a fold starts from nothing but (settings, seed, fold): trained after others or alone, it leaves the same bytes.
"""

import json
import shutil

import numpy as np
import torch
from conftest import tiny_experiment

from chestfold.core import checkpoint
from chestfold.data import folds
from chestfold.data.catalogue import open_index

EXP = tiny_experiment(
    epochs=4, patience=1, max_steps=2, ema_decay=0.9, drop_rate=0.2, augment="plain", randaugment=(1, 5),
    mixup_alpha=0.4, cutmix_alpha=1.0, sampling="over", max_grad_norm=1.0, monitor="accuracy",
)  # fmt: skip


def contents(folder) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("last.ckpt", "best.ckpt", "oof.parquet", "test.parquet")}


def test_a_fold_after_another_is_the_same_as_alone(project):
    folder = project.runs / "exp100" / "fold1"
    project.run(EXP, "--fold", "0", "1")
    after_another = contents(folder)
    shutil.rmtree(project.runs)
    torch.rand(7), np.random.rand(7)
    project.run(EXP, "--fold", "1")
    alone = contents(folder)
    assert {name for name in alone if alone[name] != after_another[name]} == set()


def test_a_fold_starts_with_its_own_history_and_optimizer(trained, _trained_once):
    chosen = folds.load("tiny", open_index("tiny"))
    for fold in range(3):
        state = checkpoint.load(_trained_once.runs / "exp100" / f"fold{fold}" / "last.ckpt")
        assert [row["epoch"] for row in json.loads(state["history"])] == [1, 2]
        steps = {int(moments["step"]) for moments in state["optimizer"]["state"].values()}
        assert steps == {2 * (len(chosen.other_ids(fold)) // 8)}, "two epochs in batches of eight"
