"""What leaks would have added: the same experiment on folds that leak on purpose."""

import pytest
from conftest import Project, tiny_experiment

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.evaluate.leak_cost import leak_cost, leaky_name
from chestfold.evaluate.results import find_result


def refusal(capsys, *argv: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main.main(list(argv))
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_the_cost_of_a_leak_from_the_folds_to_the_figure(trained: Project, capsys):
    main.main(["folds", "cost", "exp100"])
    said = capsys.readouterr().out
    assert "folds/tiny_leaky.csv leaks on purpose" in said and "20 groups" in said
    assert "next: python exps/exp100.py --tag leaky --folds tiny_leaky" in said
    made = folds.load("tiny_leaky", open_index("tiny"))
    patients = open_index("tiny").train.set_index("id")["group"]
    spread = made.table.assign(patient=patients.loc[made.table["id"]].to_numpy()).groupby("patient")["fold"].nunique()
    assert (spread > 1).any() and made.record.leaky

    trained.run(tiny_experiment(folds="tiny_leaky"), "--tag", "leaky", name="exp100")
    assert "leak on purpose" in capsys.readouterr().out
    leaky = find_result("exp100-leaky")
    assert "leak on purpose" in leaky.record.warning
    main.main(["folds", "cost", "exp100"])
    said = capsys.readouterr().out
    cost = leak_cost(find_result("exp100"), leaky)
    assert cost.added.format_gain() in said and str(cost.sound) in said
    assert cost.added.value == pytest.approx(cost.leaky.value - cost.sound.value)

    assert "cannot be blended" in refusal(capsys, "ensemble", "exp100", "exp100-leaky", "--name", "mix")
    with pytest.raises(InputError, match="is to be trained on folds that leak"):
        leak_cost(leaky, leaky)


def test_a_run_with_other_settings_is_not_compared(trained: Project):
    main.main(["folds", "cost", "exp100"])
    trained.run(tiny_experiment(folds="tiny_leaky", lr=1e-3), "--tag", "leaky", name="exp100")
    with pytest.raises(InputError, match="lr is 0.003 in exp100 and 0.001"):
        leak_cost(find_result("exp100"), find_result("exp100-leaky"))


def test_a_leaky_twin_of_some_folds_is_not_compared(trained: Project):
    main.main(["folds", "cost", "exp100"])
    trained.run(tiny_experiment(folds="tiny_leaky"), "--tag", "leaky", "--fold", "0", name="exp100")
    with pytest.raises(InputError, match=r"^exp100-leaky holds fold 0 of 3; train the missing ones first$"):
        leak_cost(find_result("exp100"), find_result("exp100-leaky"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("exp021", "exp021-leaky"),
        ("exp021-64px", "exp021-64px-leaky"),
        ("exp021-a@other", "exp021-a-leaky@other"),
    ],
)
def test_the_name_of_the_twin(name, expected):
    assert leaky_name(name) == expected


def test_an_ensemble_has_no_cost(trained: Project, capsys):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    assert "measured on an experiment" in refusal(capsys, "folds", "cost", "both")
