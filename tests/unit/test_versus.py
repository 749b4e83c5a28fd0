"""`chestfold compare`: one result against others."""

import csv
import io
import json

import numpy as np
import pytest
from conftest import tiny_experiment
from tasks import drawn_probs, exclusive, graded, labelled

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.core.task import Task
from chestfold.evaluate.calibrated import calibrate
from chestfold.evaluate.paired import compare
from chestfold.evaluate.predictions import class_columns, probabilities, task_identity
from chestfold.evaluate.results import Result, find_result, write_result
from chestfold.evaluate.versus import OF_TRUTH, SHOWN, Versus, versus
from chestfold.report import compare as shown

WIDTHS = (40, 60, 80, 120, 200)


def predicting(project, name: str, task: Task, probs: np.ndarray, labels: list[str] | None = None) -> Result:
    """A result `name` on the images of exp100, with other classes, labels and probabilities."""
    table, provenance = find_result("exp100").oof()
    about = find_result("exp100").record.model_dump(exclude={"name", "scores", "files", "images", "patients"})
    about |= {"task": task.name, "classes": task.classes, "positive": task.positive}
    made = table.drop(columns=class_columns(table))
    if labels:
        made["label"] = labels
    for number, column in enumerate(task.classes):
        made[column] = probs[:, number]
    return write_result(project.runs / name, made, None, None, provenance | task_identity(task), about)


def two_of(project, task: Task) -> tuple[Result, Result]:
    """Two results that know more and less of the same labels."""
    if task.sums_to_one:
        numbers = np.arange(60) % len(task.classes)
        texts, labels = [task.classes[n] for n in numbers], numbers
    else:
        texts = ["|".join(task.classes[: n % 3]) or "-" for n in range(60)]
        labels = task.labels(texts)
    good = predicting(project, "good", task, drawn_probs(task, labels, 2.0, "good"), texts)
    return good, predicting(project, "poor", task, drawn_probs(task, labels, 0.3, "poor"), texts)


def change_settings(project, name: str, **settings) -> None:
    path = project.runs / name / "scores.json"
    about = read_json(path)
    write_json(path, about | {"settings": about["settings"] | settings})


# What is compared


def test_only_settings_that_differ_are_listed_and_older_records_have_defaults(trained):
    path = trained.runs / "exp100" / "scores.json"
    about = read_json(path)
    del about["settings"]["drop_rate"]
    write_json(path, about)
    found = versus(find_result("exp101"), find_result("exp100"))
    assert found.settings["seed"] == (1, 0) and "drop_rate" not in found.settings


def test_the_figures_are_those_of_each_result_and_the_gain_is_paired(trained):
    ours, theirs = find_result("exp101"), find_result("exp100")
    found = {figure.name: figure for figure in versus(ours, theirs).figures}
    for name in ("auc", "recall", "specificity", "accuracy"):
        assert found[name].ours == ours.score("at_half", name).value
        assert found[name].theirs == theirs.score("at_half", name).value
        assert found[f"{name}, tuned" if name != "auc" else name].gain.value is not None
    for name in ("recall", "specificity", "accuracy"):
        assert found[f"{name}, tuned"].ours == ours.score("cross_fitted", name).value
    kept = compare(ours, theirs)
    assert (found["auc"].gain, found["auc"].p_false) == (kept.gain, kept.p_false)


@pytest.mark.parametrize(
    "task", [exclusive(2), exclusive(2, 0), exclusive(3), graded(4), labelled()], ids=lambda t: f"{t.name} {t.positive}"
)
def test_images_that_changed_sides_are_counted_in_each_direction_for_every_task(trained, task):
    good, poor = two_of(trained, task)
    found = versus(good, poor)
    table = good.oof()[0]
    truth = task.truth(task.labels(table["label"].tolist()))
    says = [task.decide(probabilities(result.oof()[0])) for result in (good, poor)]
    right = [(said == truth).all(axis=1) for said in says]
    differ = (says[0] != says[1]).any(axis=1)
    sides = found.sides
    assert sides.only_ours == (differ & right[0] & ~right[1]).sum() > 0
    assert sides.only_theirs == (differ & right[1] & ~right[0]).sum()
    assert sides.only_ours + sides.only_theirs + sides.neither == differ.sum()
    assert len(sides.most_changed) == min(SHOWN, differ.sum())
    first, last = sides.most_changed[0], sides.most_changed[-1]
    assert abs(first.ours - first.theirs) >= abs(last.ours - last.theirs)
    row = table.set_index("id").loc[first.image_id]
    assert first.truth == row["label"]
    binary = task.sums_to_one and len(task.classes) == 2
    if binary:
        assert first.ours == row[task.positive] and found.probability == f"P({task.positive})"
    else:
        assert found.probability == OF_TRUTH
    for width in WIDTHS:
        shown.lines(found, width)


def test_a_competition_s_metric_is_compared_too(trained):
    _, poor = two_of(trained, graded(4))
    path = trained.runs / "good" / "scores.json"
    write_json(path, read_json(path) | {"metric": "quadratic_kappa"})
    figures = versus(find_result("good"), poor).figures
    titles = [figure.title for figure in figures]
    assert titles == ["AUC", "sensitivity", "specificity", "accuracy", "Brier", "log loss", "quadratic kappa"]
    write_json(path, read_json(path) | {"metric": "of_hooks", "settings": {"hooks": "mine.py"}})
    found = versus(find_result("good"), poor)
    assert "quadratic kappa" not in [figure.title for figure in found.figures]
    assert any("of_hooks" in note for note in found.notes)


@pytest.fixture
def divided(trained):
    with (trained.input / "tiny" / "dataset.toml").open("a") as file:
        file.write("[subgroups]\nhalf = { pattern = '^t0([0-2])' }\n")
    return trained


def test_parts_of_the_images_stand_side_by_side(divided):
    found = versus(find_result("exp100"), find_result("exp101"))
    assert [(part.title, part.value) for part in found.parts] == [("half", "0"), ("half", "1"), ("half", "2")]
    assert found.parts[0].ours == find_result("exp100").by_subgroup()["half"]["0"]
    assert found.parts[0].theirs == find_result("exp101").by_subgroup()["half"]["0"]


def test_a_run_of_one_fold_is_compared_on_the_common_images_in_every_table(divided):
    divided.run(tiny_experiment(epochs=1), "--fold", "1", name="exp102")
    found = versus(find_result("exp102"), find_result("exp100"))
    images = len(find_result("exp102").oof()[0])
    assert found.images == images and f"the {images} images of fold 1 that both have" in found.scope
    counted = {part.value: part.ours.images for part in found.parts}
    assert counted == {part.value: part.theirs.images for part in found.parts} and sum(counted.values()) < 30
    assert not any(figure.name.endswith("tuned") for figure in found.figures)


def test_a_calibrated_result_differs_from_its_source_by_that_alone(trained):
    made = calibrate("exp100")
    settings = versus(made, find_result("exp100")).settings
    assert settings == {"calibrated": (True, None)}


def test_an_ensemble_and_an_import_say_what_they_are(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    settings = versus(find_result("both"), find_result("exp100")).settings
    assert settings["members"] == (["exp100", "exp101"], None)


# What is refused


def refusal(*names: str) -> str:
    with pytest.raises(SystemExit):
        main.main(["compare", *names])
    return ""


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["exp100", "exp100"], "exp100 is compared with another result; name two different ones"),
        (["exp100", "exp101", "exp101"], "a result is named twice"),
        (["exp100", "exp1o1"], "no finished result called 'exp1o1'; did you mean exp101?"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(trained, capsys, names, sentence):
    refusal(*names)
    assert sentence in capsys.readouterr().err


def test_a_debug_run_is_not_compared(trained):
    (trained.runs / "exp101").rename(trained.runs / "exp101-debug")
    with pytest.raises(InputError, match="exp101-debug is a debug run: its scores mean nothing; train exp101 instead"):
        versus(find_result("exp100"), find_result("exp101-debug"))


# What is printed


def text_of(found: Versus, width: int) -> list[str]:
    return [line.plain for line in shown.lines(found, width)]


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_at_any_width(divided, width):
    found = versus(find_result("exp101"), find_result("exp100"))
    printed = text_of(found, width)
    words = " ".join(" ".join(printed).split())
    assert all(len(line) <= width for line in printed)
    for figure in found.figures:
        value, interval = figure.gain.format_gain().split(" [")
        assert value in words and f"[{interval}" in words
    for change in found.sides.most_changed:
        assert change.image_id in words and f"{change.ours:.3f}" in words and f"{change.theirs:.3f}" in words
    assert "half 0" in words and "seed" in words


def test_results_that_do_not_differ_say_so(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    main.main(["ensemble", "exp100", "exp101", "--name", "again"])
    printed = "\n".join(text_of(versus(find_result("both"), find_result("again")), 100))
    assert "no setting differs" in printed and "0 images changed sides" in printed and "not told apart" in printed


def test_several_are_compared_and_a_pipe_has_no_colour(trained, capsys):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    capsys.readouterr()
    main.main(["compare", "both", "exp100", "exp101"])
    printed = capsys.readouterr().out
    assert "both against exp100" in printed and "both against exp101" in printed and "\x1b" not in printed
    assert "on 60 images of 3 folds, 20 patients; a gain above 0: both is better" in printed


def test_programs_are_given_json_and_csv(divided, capsys):
    capsys.readouterr()
    main.main(["compare", "exp101", "exp100", "--json"])
    (found,) = json.loads(capsys.readouterr().out)
    expected = versus(find_result("exp101"), find_result("exp100"))
    assert (found["ours"], found["theirs"], found["images"]) == ("exp101", "exp100", 60)
    assert found["figures"][0]["gain"]["value"] == expected.figures[0].gain.value
    assert found["settings"]["seed"] == [1, 0] and found["parts"][0]["ours"]["images"] == 10
    main.main(["compare", "exp101", "exp100", "--csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["figure"] for row in rows] == [figure.title for figure in expected.figures]
    assert float(rows[0]["gain low"]) == expected.figures[0].gain.low
