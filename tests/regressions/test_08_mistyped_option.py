"""Bug: an option with a typing error was accepted and ignored, and the run that was meant was never made.

Here an unknown or ill-typed option stops the run with one sentence, names are never completed, and every option that
is accepted reaches the settings that the run is trained with.
"""

from pathlib import Path
from typing import get_args

import pytest
from conftest import tiny_experiment

from chestfold import Experiment
from chestfold.cli import main
from chestfold.cli.experiment import read_command
from chestfold.core.config import field_types
from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset

WRONG = [
    ("--learning_rate", "3e-4"),
    ("--lrr", "3e-4"),
    ("--epoch", "3"),  # not completed to --epochs
    ("--lr", "high"),
    ("--lr", "-1"),
    ("--epochs", "2.5"),
    ("--pretrained", "maybe"),
    ("--augment", "plian"),
    ("--loss", "focl"),
    ("--randaugment", "2"),
    ("--fold", "first"),
    ("--fold", "9"),
    ("epochs=3",),
]

OTHER = {
    "data": "other", "folds": "other", "seed": "7", "backbone": "vit", "pretrained": "true", "image_size": "64",
    "drop_rate": "0.5", "head_width": "7", "freeze": "true", "train_per_class": "7", "class_weights": "balanced",
    "average_last": "7", "epochs": "7", "max_steps": "7", "batch_size": "7", "grad_accum_steps": "7",
    "optimizer": "sgd", "lr": "0.5", "weight_decay": "0.5", "layer_decay": "0.5", "schedule": "step",
    "warmup_epochs": "1.5", "max_grad_norm": "0.5", "label_smoothing": "0.5", "ema_decay": "0.5", "sampling": "over",
    "augment_batch": "true", "tta_selective": "true", "predict_precision": "fastest",
    "augment": "plain", "crop_scale": "0.5", "randaugment": "2 9", "mixup_alpha": "0.5", "cutmix_alpha": "0.5",
    "loss": "focal", "monitor": "macro_f1", "patience": "7", "tta": "crops", "precision": "bf16", "compile": "true",
    "hooks": "exps/my_hooks.py",
    "lung_mask": "zero", "frame": "border", "positive_share": "0.5", "synthetic": "other",
    "start_from": "exp100", "extra": "other", "pseudo": "exp100",
    "lr_cycles": "7", "lr_power": "0.5", "lr_milestones": "0.1 0.2 0.3", "gradient_checkpointing": "true",
    "channels": "3", "depth": "16", "normalise": "image",
    "tabular": "age sex",
}  # fmt: skip


@pytest.mark.parametrize("argv", WRONG, ids=" ".join)
def test_a_wrong_option_stops_the_run_before_it_begins(project, argv):
    with pytest.raises(InputError, match=argv[0].split("=")[0].strip("-").split("_")[0]):
        project.run(tiny_experiment(), *argv)
    assert not project.runs.exists()


@pytest.mark.parametrize("name", [name for name, kind in field_types().items() if len(get_args(kind)) != 1])
def test_every_option_reaches_the_settings_under_its_own_name_only(name):
    words = OTHER[name].split()
    plain = tiny_experiment()
    chosen = read_command(plain, [f"--{name}", *words], Path("exp100.py")).request.exp
    before, after = plain.to_dict(), chosen.to_dict()
    assert {k for k in before if before[k] != after[k]} == {name}


def test_an_unknown_setting_in_an_experiment_file_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="unknown setting 'batchsize'; did you mean batch_size"):
        Experiment().but(batchsize=8)


def test_an_unknown_field_of_a_declared_data_set_is_refused(project):
    with (project.input / "tiny" / "dataset.toml").open("a") as file:
        file.write('group_colum = "patient"\n')
    with pytest.raises(InputError, match="unknown field 'group_colum'"):
        find_dataset("tiny")


@pytest.mark.parametrize("argv", ["folds make tiny --fold 3", "submit exp100 --dry", "bord", "board --best auc"])
def test_a_wrong_word_of_the_command_exits_with_2_and_one_sentence(project, capsys, argv):
    with pytest.raises(SystemExit) as stop:
        main.main(argv.split())
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
