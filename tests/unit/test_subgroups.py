"""Scores of the parts that a data set is divided into."""

import numpy as np
import pandas as pd
import pytest
from conftest import tiny_experiment
from sklearn import metrics as reference
from tasks import drawn, exclusive, graded, labelled

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.core.task import Task
from chestfold.core.task.multilabel import label_text
from chestfold.data.catalogue import catalogue, open_index
from chestfold.data.dataset import Dataset, subgroup_values
from chestfold.evaluate import subgroups
from chestfold.evaluate.predictions import predictions
from chestfold.evaluate.results import find_result
from chestfold.evaluate.subgroups import SubgroupScores
from chestfold.evaluate.thresholds import cross_fitted_thresholds
from chestfold.report.publish import publish

ROWS = 240


def table_of(task: Task, seed: int = 0) -> pd.DataFrame:
    labels, probs = drawn(task, ROWS, seed)
    if task.sums_to_one:
        texts = [task.classes[label] for label in labels]
    else:
        texts = [label_text(task.classes, row) for row in labels.tolist()]
    numbers = np.arange(ROWS)
    rows = pd.DataFrame({"id": numbers.astype(str), "group": numbers // 2, "label": texts})
    return predictions(rows, 0, task.classes, probs).assign(fold=numbers % 3)


def halves() -> np.ndarray:
    """Which of two scanners made each image; of some it is not known."""
    return np.array(["old", "new", "new", ""])[np.arange(ROWS) % 4]


TASKS = [exclusive(2), exclusive(2, 0), exclusive(3), exclusive(4), graded(4), labelled()]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name} {len(task.classes)} {task.positive_number}")
def test_a_part_is_scored_by_its_own_images_for_the_positive_class(task):
    table = table_of(task)
    found = subgroups.score(table, task, {"scanner": halves()})
    assert found is not None and list(found["scanner"]) == ["new", "old"]
    for value, part in found["scanner"].items():
        rows = table[halves() == value]
        labels, probs = task.labels(rows["label"].tolist()), rows[list(task.classes)].to_numpy()
        truth = task.truth(labels)[:, task.positive_number]
        known = ~np.isnan(truth)
        chosen = task.decide(probs)[known, task.positive_number]
        assert (part.images, part.patients) == (len(rows), rows["group"].nunique())
        assert part.positives == np.nansum(truth)
        assert part.recall.value == pytest.approx(reference.recall_score(truth[known], chosen))
        assert part.specificity.value == pytest.approx(reference.recall_score(truth[known], chosen, pos_label=0))
        area = reference.roc_auc_score(truth[known], probs[known, task.positive_number])
        assert part.auc.value == pytest.approx(area) and not part.auc_against_all
        assert part.recall.low < part.recall.value < part.recall.high
        has_thresholds = not task.sums_to_one or len(task.classes) == 2
        assert (part.tuned_recall is not None) == has_thresholds


def test_a_part_that_has_only_the_ill_is_compared_with_all_who_are_well():
    task, table = exclusive(), table_of(exclusive())
    ill = (table["label"] == "ill").to_numpy()
    values = np.where(ill, np.where(np.arange(ROWS) % 3 == 0, "virus", "bacteria"), "")
    found = subgroups.score(table, task, {"kind": values})["kind"]
    for value, part in found.items():
        compared = table[(values == value) | ~ill]
        area = reference.roc_auc_score(compared["label"] == "ill", compared["ill"])
        assert part.auc_against_all and part.auc.value == pytest.approx(area)
        assert part.specificity is None and part.positives == part.images
        assert part.recall.value == (compared["ill"] >= 0.5)[compared["label"] == "ill"].mean()


def test_a_part_without_the_ill_has_a_specificity_and_no_sensitivity():
    table = table_of(exclusive())
    well = (table["label"] == "healthy").to_numpy()
    (part,) = subgroups.score(table, exclusive(), {"kind": np.where(well, "control", "")})["kind"].values()
    assert part.recall is None and part.specificity is not None and part.auc_against_all


def test_a_part_without_the_ill_is_compared_with_all_who_are_ill():
    table = table_of(exclusive())
    ill = (table["label"] == "ill").to_numpy()
    values = np.where(ill, "", np.where(np.arange(ROWS) % 3 == 0, "volunteer", "patient"))
    for value, part in subgroups.score(table, exclusive(), {"control": values})["control"].items():
        compared = table[(values == value) | ill]
        area = reference.roc_auc_score(compared["label"] == "ill", compared["ill"])
        assert part.auc_against_all and part.auc.value == pytest.approx(area)


def test_images_of_one_fold_have_no_tuned_threshold():
    table = table_of(exclusive()).assign(fold=0)
    part = subgroups.score(table, exclusive(), {"scanner": halves()})["scanner"]["old"]
    assert part.tuned_recall is None and part.recall is not None


def test_where_nothing_is_divided_there_are_no_figures():
    assert subgroups.score(table_of(exclusive()), exclusive(), {}) is None


@pytest.mark.parametrize(("data", "are"), [("chest_xray", True), ("tiny", False), ("nowhere", False)])
def test_ids_say_which_part_an_image_is_of_where_a_pattern_is_declared(project, data, are):
    declare(project, "[subgroups]\nsex = { column = 'sex' }\n")
    add_column(project, "sex", ["F", "M"])
    assert subgroups.are_in_ids(data) == are


def test_values_are_those_of_the_images_in_the_order_that_is_asked_for(project):
    assert subgroups.values_in(open_index("tiny"), pd.Series(["t003"])) == {}
    add_column(project, "sex", ["F", "M"])
    declare(project, "[subgroups]\nsex = { column = 'sex' }\nlast = { pattern = '([03])$' }\n")
    found = subgroups.values_in(open_index("tiny"), pd.Series(["t003", "t000", "t002"]))
    assert {title: values.tolist() for title, values in found.items()} == {
        "sex": ["M", "F", "F"],
        "last": ["3", "0", ""],
    }


def test_tuned_shares_of_a_part_are_at_the_thresholds_of_the_other_folds():
    task, table = exclusive(), table_of(exclusive())
    part = subgroups.score(table, task, {"scanner": halves()})["scanner"]["new"]
    labels, probs = task.labels(table["label"].tolist()), table[list(task.classes)].to_numpy()
    chosen = cross_fitted_thresholds(task, labels, probs, table["fold"].to_numpy())[:, 0]
    rows = halves() == "new"
    called = (probs[:, 1] >= chosen)[rows]
    assert part.tuned_recall.value == pytest.approx(called[labels[rows] == 1].mean())
    assert part.tuned_specificity.value == pytest.approx(1 - called[labels[rows] == 0].mean())
    assert part.tuned_recall.value != part.recall.value


# What is declared


@pytest.mark.parametrize("name", ["chest_xray", "chest_xray_3class", "chest_xray_multilabel"])
def test_the_chest_x_rays_are_divided_by_what_caused_the_pneumonia(name):
    ids = ["train/PNEUMONIA/person1_bacteria_2", "train/PNEUMONIA/person1_virus_7", "train/NORMAL/IM-0115-0001"]
    values = subgroup_values(catalogue()[name], pd.DataFrame({"id": ids}))
    assert {title: found.tolist() for title, found in values.items()} == {"kind": ["bacteria", "virus", ""]}


def declare(project, text: str) -> None:
    with (project.input / "tiny" / "dataset.toml").open("a") as file:
        file.write(text)


def add_column(project, name: str, values: list[str]) -> None:
    path = project.input / "tiny" / "train.csv"
    head, *rows = path.read_text().splitlines()
    filled = [f"{row},{values[n % len(values)]}" for n, row in enumerate(rows)]
    path.write_text("\n".join([f"{head},{name}", *filled]) + "\n")


def test_a_division_by_a_column_is_scored_when_a_run_is_collected(project):
    add_column(project, "sex", ["F", "M", ""])
    declare(project, "[subgroups]\nsex = { column = 'sex' }\ntens = { pattern = '^t0([0-5])' }\n")
    project.run(tiny_experiment(epochs=1), "--fold", "0", "1", "2")
    found = find_result("exp100").record.scores.by_subgroup
    assert list(found) == ["sex", "tens"] and list(found["sex"]) == ["F", "M"] and list(found["tens"]) == list("012345")
    assert [part.images for part in found["sex"].values()] == [20, 20]
    index = open_index("tiny")
    women = set(index.table.loc[index.table["sex"] == "F", "id"])
    oof = find_result("exp100").oof()[0]
    rows = oof[oof["id"].isin(women)]
    assert found["sex"]["F"].accuracy.value == pytest.approx(((rows["ill"] >= 0.5) == (rows["label"] == "ill")).mean())
    assert index.dataset.tabular == () and "sex" in index.table, "no network may see it"


def test_ensembles_and_older_results_are_divided_by_their_ids(trained):
    declare(trained, "[subgroups]\ntens = { pattern = '^t0([0-5])' }\n")
    assert find_result("exp100").record.scores.by_subgroup is None, "it was collected before"
    older = find_result("exp100").by_subgroup()["tens"]
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    kept = find_result("both").record.scores.by_subgroup["tens"]
    assert [part.images for part in older.values()] == [part.images for part in kept.values()] == [10] * 6
    assert find_result("both").by_subgroup()["tens"] == kept
    publish("both")
    assert "by_subgroup" in read_json(trained.root / "exps/results/both/scores.json")["scores"]


def test_a_result_of_a_data_set_that_is_not_declared_here_has_no_parts(trained):
    path = trained.runs / "exp100" / "scores.json"
    write_json(path, read_json(path) | {"data": "elsewhere"})
    assert find_result("exp100").by_subgroup() == {}


def test_a_division_into_too_many_parts_is_refused_before_anything_is_trained(project):
    declare(project, "[subgroups]\nimage = { pattern = '^(t.*)' }\n")
    with pytest.raises(InputError, match="subgroups.image divides the images into 60 parts, as 't000' and 't001'"):
        open_index("tiny")


def test_a_division_that_finds_nobody_is_noted(project):
    declare(project, "[subgroups]\nkind = { pattern = '_(virus)_' }\n")
    assert any("subgroups.kind: no image is of any" in note for note in open_index("tiny").notes)


def test_a_column_that_the_table_lacks_is_named(project):
    declare(project, "[subgroups]\nsex = { column = 'Sex' }\n")
    with pytest.raises(InputError, match="'Sex'"):
        open_index("tiny")


def test_parts_are_kept_in_a_file_as_they_are():
    part = SubgroupScores(images=3, patients=2, positives=0)
    assert SubgroupScores.model_validate(part.to_dict()) == part
    assert Dataset(name="d", reader="csv").subgroups == {}
