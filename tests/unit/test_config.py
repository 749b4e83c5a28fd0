"""An experiment is frozen and typed; options are spelled like its fields."""

import dataclasses
import json

import pytest

from chestfold import Experiment
from chestfold.core.config import SECTIONS, difference, field_types, parse_option, settings_of
from chestfold.core.errors import InputError


def test_but_changes_a_copy_that_remembers_its_parent():
    parent = Experiment(lr=1e-2)
    child = parent.but(lr=1e-3, backbone="resnet50")
    assert (parent.lr, child.lr, child.backbone, child.parent) == (1e-2, 1e-3, "resnet50", parent)
    assert difference(parent.to_dict(), child.to_dict()) == {"lr": (1e-2, 1e-3), "backbone": ("resnet18", "resnet50")}


def test_an_experiment_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Experiment().lr = 1


def test_a_record_is_read_back_as_it_was():
    exp = Experiment(randaugment=(2, 9), lr_milestones=(0.5, 0.75), lr=3e-4, freeze=True, head_width=8)
    assert Experiment.from_dict(json.loads(json.dumps(exp.to_dict()))) == exp


def test_a_setting_that_a_record_does_not_know_has_its_default():
    settings = Experiment(lr=3e-4).to_dict()
    for name in ("head_width", "freeze", "train_per_class", "class_weights", "average_last"):
        del settings[name]
    assert Experiment.from_dict(settings) == Experiment(lr=3e-4)


def test_a_record_with_an_unknown_or_ill_typed_setting_is_refused():
    with pytest.raises(InputError, match="unknown setting 'head_widht'; did you mean head_width"):
        Experiment.from_dict(Experiment().to_dict() | {"head_widht": 8})
    with pytest.raises(InputError, match="head_width = 8.5 is not a whole number"):
        Experiment.from_dict(Experiment().to_dict() | {"head_width": 8.5})


def test_a_parent_is_no_setting():
    assert Experiment() == Experiment().but()
    assert "parent" not in Experiment().but().to_dict() and "parent" not in field_types()


def test_settings_survive_json():
    settings = Experiment(randaugment=(2, 9)).to_dict()
    assert json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("wrong", "near"), [("batchsize", "batch_size"), ("learning_rte", None), ("mixup", "mixup_alpha")]
)
def test_an_unknown_setting_names_its_neighbour(wrong, near):
    with pytest.raises(InputError, match=f"unknown setting '{wrong}'") as refusal:
        Experiment().but(**{wrong: 1})
    assert near is None or f"did you mean {near}?" in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 2.0),
        ("epochs", True),
        ("epochs", "2"),
        ("lr", "0.1"),
        ("lr", True),
        ("pretrained", 1),
        ("pretrained", "yes"),
        ("optimizer", 3),
        ("schedule", "cosinus"),
        ("loss", 1),
        ("monitor", None),
        ("randaugment", [2, 9]),
        ("randaugment", (2, 9, 1)),
        ("randaugment", (2, 9.5)),
        ("lr_milestones", 0.5),
        ("lr_milestones", ("0.5",)),
        ("backbone", None),
    ],
)
def test_an_ill_typed_setting_is_refused(setting, value):
    with pytest.raises(InputError, match=f"{setting} = .* is not"):
        Experiment(**{setting: value})


LIMITS = {field.name: field.metadata["limits"] for field in settings_of(Experiment) if field.metadata["limits"]}


def test_every_number_has_limits():
    numbers = {name for name, kind in field_types().items() if kind in (int, float)}
    assert set(LIMITS) == numbers


@pytest.mark.parametrize("setting", LIMITS)
def test_both_ends_of_a_range_are_held(setting):
    low, high = LIMITS[setting]
    kind = field_types()[setting]
    step = 1 if kind is int else high * 0.01
    for outside in (kind(low - step), kind(high + step)):
        with pytest.raises(InputError, match=f"{setting} = .* is outside"):
            Experiment(**{setting: outside})
    Experiment(**{setting: kind(low)})
    Experiment(**{setting: kind(high)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_rate_that_is_no_number_is_refused(value):
    with pytest.raises(InputError, match="lr = .* is outside"):
        Experiment(lr=value)


@pytest.mark.parametrize("value", [(0, 5), (15, 5), (2, -1), (2, 11)])
def test_randaugment_has_a_range(value):
    with pytest.raises(InputError, match="1 to 14 operations, strength 0 to 10"):
        Experiment(randaugment=value)


@pytest.mark.parametrize(
    ("name", "words", "value"),
    [
        ("lr", "3e-4", 3e-4),
        ("lr", "1", 1.0),
        ("epochs", "12", 12),
        ("backbone", "vit_tiny_patch16_224", "vit_tiny_patch16_224"),
        ("optimizer", "lion", "lion"),
        ("schedule", "step", "step"),
        ("loss", "focal", "focal"),
        ("monitor", "sensitivity@0.9", "sensitivity@0.9"),
        ("pretrained", "true", True),
        ("pretrained", "False", False),
        ("randaugment", "2 9", (2, 9)),
        ("randaugment", "none", None),
        ("lr_milestones", "0.5", (0.5,)),
        ("lr_milestones", "none", ()),
        ("tabular", "age sex", ("age", "sex")),
        ("tabular", "none", ()),
        ("lr_milestones", "0.25 0.5 0.75", (0.25, 0.5, 0.75)),
    ],
)
def test_an_option_is_read_as_its_field_is_typed(name, words, value):
    read = parse_option(name, words.split())
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("lr", "fast"),
        ("lr", "none"),
        ("lr", "1 2"),
        ("epochs", ""),
        ("schedule", "Step"),
        ("sampling", "Over"),
        ("precision", "half"),
        ("pretrained", "1"),
        ("randaugment", "2"),
        ("randaugment", "2 x"),
        ("randaugment", "2 9 1"),
        ("lr_milestones", "0.5 late"),
        ("schedule", "plateau"),
    ],
)
def test_an_option_that_does_not_spell_its_type_is_refused(name, words):
    with pytest.raises(InputError, match=f"--{name} {words}: {name} takes"):
        parse_option(name, words.split())


def test_every_setting_is_explained():
    assert all(len(field.metadata["help"]) > 20 for field in settings_of(Experiment))


def test_the_sections_begin_with_the_first_setting_and_name_settings_alone():
    assert next(iter(SECTIONS)) == next(iter(field_types()))
    assert set(SECTIONS) < set(field_types())


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"channels": 2}, "channels = 2 is not one of 1, 3"),
        ({"depth": 10}, "depth = 10 is not one of 8, 16"),
        (
            {"channels": 3, "lung_mask": "zero"},
            "channels = 3 and lung_mask = zero .lungs are found in one grey channel",
        ),
        ({"depth": 16, "randaugment": (2, 9)}, r"depth = 16 and randaugment .* are for 8 bits"),
        ({"normalise": "image", "lung_mask": "channel"}, "normalise = image and lung_mask = channel .the lungs would"),
    ],
    ids=str,
)
def test_what_a_network_sees_cannot_be_everything_at_once(settings, complaint):
    with pytest.raises(InputError, match=complaint):
        Experiment(**settings)
