"""The data of the page: what the files say, counted as Python counts, and nothing that may not be on it."""

import base64
import hashlib
import json
import re
import shutil
import time
import webbrowser
from datetime import UTC, datetime
from pathlib import Path

import cv2
import drawn_results
import numpy as np
import pandas as pd
import pytest
from conftest import Project
from drawn_results import rows_of
from page_data import Scripts, data_of, decoded, runs_of
from tasks import drawn_labels, exclusive, graded, labelled

from chestfold import Experiment
from chestfold.cli import main
from chestfold.core import hide
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, submissions_dir, write_json
from chestfold.core.task import Task
from chestfold.evaluate import leaderboard, paired, predictions, published_baselines, results
from chestfold.integrations.kaggle.submission import SubmissionRecord, Upload
from chestfold.report import page, watch
from chestfold.report.data import build, quantised
from chestfold.report.images import Errors, Pictures, Wanted, in_turn, matching_index
from chestfold.report.page import VENDOR, WEB, collect, html, write_report
from chestfold.report.publish import publish
from chestfold.report.records import WHOLE, Table, to_json

TASKS = [exclusive(), exclusive(2, 0), exclusive(3), exclusive(4, 2), graded(2), graded(3), graded(4), labelled()]
CUTS = (1, 7, 29, 35, 50, 57, 58, 99)
"""Percent; products of some of them are rounded over their bounds."""
HOSTILE = [
    "\"><script>alert('1')</script>",
    "</script><!--",
    "a#b&c=%23",
    "😀 肺",
    "\u202eabc\u2028\u0007\\u003c",
    "'`${x}",
]


def made(*names: str) -> str:
    return html(collect(names))


def data(*names: str) -> dict:
    return data_of(made(*names))


def declare(project, name: str, **changes) -> None:
    """Change what a result says of itself."""
    path = project.runs / name / "scores.json"
    write_json(path, read_json(path) | changes)


def store(project: Project, name: str, task: Task, trained=(0, 1, 2)) -> results.Result:
    """A result with drawn predictions of 90 images that are nowhere, in three folds."""
    rows = rows_of(task, drawn_labels(task, 90)).sample(frac=1, random_state=0)
    settings = Experiment().to_dict()
    return drawn_results.store(project, name, task, rows, trained=trained, data="drawn", settings=settings)


def wholes(found: dict, run: dict, table: dict) -> np.ndarray:
    """The stored parts of a run, (n,) or (n, K)."""
    parts = decoded(run["probs"], "uint16").astype(int)
    binary = len(table["classes"]) == 2 and table["task"] != "multilabel"
    return parts if binary else parts.reshape(-1, len(table["classes"]))


def decided(task: Task, parts: np.ndarray) -> np.ndarray:
    """What a browser decides of parts at 0.5, bool (N, K), by whole numbers alone."""
    if not task.sums_to_one:
        return parts >= WHOLE / 2
    count = len(task.classes)
    if count == 2:
        chosen = np.where(parts >= WHOLE / 2, task.positive_number, 1 - task.positive_number)
    elif task.name == "ordinal":
        sums = parts[:, ::-1].cumsum(axis=1)[:, ::-1]
        chosen = (sums[:, 1:] >= WHOLE / 2).sum(axis=1)
    else:
        assert ((parts == parts.max(axis=1, keepdims=True)).sum(axis=1) == 1).all()
        chosen = parts.argmax(axis=1)
    return np.eye(count, dtype=bool)[chosen]


# The contract


def test_the_records_are_what_the_scripts_expect(trained):
    found = data()
    assert list(found) == [
        "version", "made", "refresh", "defaults", "tables", "cases", "thumbs", "unfinished", "synthetic", "sources",
    ]  # fmt: skip
    (table,), (cases,) = found["tables"], found["cases"].values()
    assert set(table) == set(Table.__annotations__) and table["cases"] in found["cases"]
    assert (table["title"], table["images"], table["patients"]) == ("tiny, 3 folds", 60, 20)
    assert table["classes"][table["positive"]] == "ill" and table["metric"]["key"] == "auc"
    assert table["counts"] == {"healthy": 30, "ill": 30} and table["base"] == {"class": "healthy", "share": 0.5}
    assert (table["folds"], table["fold_count"], table["own"]) == ([0, 1, 2], 3, 2)
    assert re.fullmatch(r"[\w.-]+", table["id"], re.ASCII)
    oof, _ = results.find_result("exp100").oof()
    home = oof.sort_values("id").reset_index(drop=True)
    assert cases["n"] == 60 and (decoded(cases["folds"], "uint8") == home["fold"]).all()
    assert (decoded(cases["labels"], "uint8") == (home["label"] == "ill")).all()
    assert pd.Series(decoded(cases["groups"], "uint32")).groupby(home["group"]).nunique().eq(1).all()
    for shown in cases["shown"]:
        assert home["id"][shown["row"]] == shown["id"] and shown["thumb"] in found["thumbs"]
    assert len({shown["row"] for shown in cases["shown"]}) == len(cases["shown"]) == 48


def test_every_figure_is_that_of_the_files_the_best_run_first(trained):
    declare(trained, "exp101", parent="exp100", changed={"seed": [0, 1]})
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    found = data()
    (rows,) = leaderboard.rows_by_folds(results.all_results()).values()
    assert [run["name"] for run in found["tables"][0]["runs"]] == [row.result.name for row in rows]
    for row, run in zip(rows, found["tables"][0]["runs"], strict=True):
        record = row.result.record
        shown = record.scores.at_half | {"competition": row.competition, "tuned_f1": row.tuned_f1}
        shown |= {"corrupted": row.corrupted, "test_auc": row.test_auc, "in_lungs": row.in_lungs}
        assert set(run["scores"]) == set(shown)
        for name, score in shown.items():
            values = None
            if score is not None and not np.isnan(score.value):
                values = pytest.approx([score.value, score.low, score.high], abs=1e-6)
            assert run["scores"][name] == values, name
        assert run["fold_scores"] == pytest.approx(record.scores.per_fold_auc, abs=1e-6)
        assert run["confusion"] == record.scores.confusion
        assert run["thresholds"]["tuned"] == pytest.approx(record.scores.threshold, abs=1e-6)
        oof, _ = row.result.oof()
        assert abs(wholes(found, run, found["tables"][0]) / WHOLE - oof.sort_values("id")["ill"]).max() < 1 / WHOLE


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name} {len(task.classes)}, {task.positive}")
def test_the_browser_counts_what_python_counts(project, task):
    """At every cut-off, and of what is decided at 0.5; through the whole page."""
    store(project, "exp200", task)
    found = data()
    (table,), (cases,) = found["tables"], found["cases"].values()
    oof, _ = results.find_result("exp200").oof()
    probs = predictions.probabilities(oof)
    labels = task.labels(oof["label"].tolist())
    stored = decoded(cases["labels"], "uint8").reshape(np.shape(labels))
    assert (stored == np.where(np.isnan(labels), 255, labels)).all()
    parts = wholes(found, table["runs"][0], table)
    numbers = [task.positive_number] if parts.ndim == 1 else range(len(task.classes))
    columns = parts.reshape(len(parts), -1)
    if task.name != "ordinal":
        for column, number in zip(columns.T, numbers, strict=True):
            for cut in CUTS:
                assert ((column >= 600 * cut) == (probs[:, number] >= cut / 100)).all(), cut
    assert (decided(task, parts) == task.decide(probs)).all()
    if task.sums_to_one:
        truth = task.truth(labels)
        assert (truth.T @ decided(task, parts)).astype(int).tolist() == table["runs"][0]["confusion"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name} {len(task.classes)}, {task.positive}")
def test_probabilities_on_a_bound_and_beside_it_are_decided_alike(task):
    """Each bound itself, the numbers beside it, and classes whose probabilities are almost the same."""
    bounds = np.array([cut / 100 for cut in range(1, 100)])
    near = np.concatenate([bounds, np.nextafter(bounds, 0), np.nextafter(bounds, 1), bounds - 1e-6, [0.0, 1.0]])
    count = len(task.classes)
    probs = np.repeat(((1 - near) / (count - 1))[:, None], count, axis=1)
    probs[:, task.positive_number] = near
    ties = np.full((count, count), 1 / count) + 1e-7 * np.eye(count) - 1e-7 / count
    if count > 2:  # below a bound, where a lift would be a step over it
        below = np.full((1, count), (0.14 + 3e-6) / (count - 2))
        below[:, :2] = 0.43 - 2e-6, 0.43 - 1e-6
        ties = np.concatenate([ties, below])
    probs = np.concatenate([probs, ties])
    parts = quantised(task, probs)
    assert parts.min() >= 0 and parts.max() <= WHOLE
    assert (decided(task, parts) == task.decide(probs)).all()
    numbers = [task.positive_number] if parts.ndim == 1 or task.name == "ordinal" else range(count)
    columns = parts[:, None] if parts.ndim == 1 else parts[:, numbers]
    for cut in range(1, 100):
        assert ((columns >= 600 * cut) == (probs[:, numbers] >= cut / 100)).all(), cut


def test_a_fold_alone_stands_in_a_table_of_its_own_on_the_same_cases(project):
    task = exclusive()
    store(project, "exp200", task)
    store(project, "exp201", task, trained=(0,))
    store(project, "exp202", task, trained=(2, 1))
    found = data()
    titles = [table["title"] for table in found["tables"]]
    assert titles == [f"drawn, {held}, folds/tiny" for held in ("3 folds", "folds 2, 1 of 3", "fold 0 of 3")]
    assert len({table["id"] for table in found["tables"]}) == 3
    (cases,) = found["cases"].values()
    ids, folds = results.find_result("exp200").oof()[0].sort_values("id")["id"], decoded(cases["folds"], "uint8")
    for table in found["tables"]:
        (run,) = table["runs"]
        inside = np.isin(folds, table["folds"])
        oof = results.find_result(run["name"]).oof()[0].set_index("id")
        assert table["images"] == inside.sum() == len(oof) and table["counts"] == oof["label"].value_counts().to_dict()
        assert abs(wholes(found, run, table) / WHOLE - oof.loc[ids[inside], "ill"]).max() < 1 / WHOLE


def test_predictions_of_other_folds_than_the_scores_name_are_refused(project):
    store(project, "exp200", exclusive())
    store(project, "exp201", exclusive())
    folds = read_json(project.runs / "exp201" / "scores.json")["folds"]
    declare(project, "exp201", folds=folds | {"trained": [0, 2]})
    with pytest.raises(InputError, match="exp201 does not hold the images of its folds: the tables differ in 30 ids"):
        made()


def test_only_a_fold_is_there(project):
    store(project, "exp201", exclusive(3), trained=(1,))
    found = data()
    (table,), (cases,) = found["tables"], found["cases"].values()
    assert table["images"] == cases["n"] == 30 and set(decoded(cases["folds"], "uint8")) == {1}


def test_what_an_ensemble_and_an_import_are(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both", "--method", "greedy"])
    declare(trained, "exp101", kind="imported", source="theirs.csv")
    runs = runs_of(data())
    assert (runs["both"]["kind"], runs["both"]["members"]) == ("ensemble", ["exp100", "exp101"])
    assert runs["both"]["command"] == "chestfold ensemble exp100 exp101 --name both --method greedy"
    assert runs["both"]["history"] is runs["both"]["attention"] is runs["both"]["maps"] is None
    assert runs["exp101"]["command"] == "chestfold import exp101 --data tiny --oof theirs.csv"
    assert runs["exp100"]["command"] == "python exps/exp100.py"


def test_what_must_be_read_beside_a_run_and_what_it_gains(trained):
    """The gain as the board has it; a class that is never called; a warning of the catalogue that a record lacks."""
    oof, origin = results.find_result("exp101").oof()
    about = results.find_result("exp101").record.model_dump(
        exclude={"name", "scores", "files", "images", "patients", "against"}
    )
    about |= {"parent": "exp100", "changed": {"seed": (0, 1)}, "data": "phantom_marked"}
    results.write_result(trained.runs / "exp102", oof.assign(healthy=0.6, ill=0.4), None, None, origin, about)
    found = data("exp102")
    run = runs_of(found)["exp102"]
    (row,) = leaderboard.rows_by_folds(results.all_results(), lambda r: r.name == "exp102").popitem()[1]
    assert run["gain"] == pytest.approx([row.gain.value, row.gain.low, row.gain.high], abs=1e-6)
    assert (run["gain_images"], run["p_false"]) == (60, pytest.approx(row.comparison.p_false, rel=1e-5))
    values = {mark["kind"]: mark["value"] for mark in run["marks"]}
    assert (values["never"], values["base_rate"]) == ("ill", "=")
    assert found["tables"][0]["warning"].startswith("CONFOUNDED on purpose")


def test_a_gain_is_drawn_once(trained, monkeypatch):
    declare(trained, "exp101", parent="exp100", against=None)
    first = runs_of(data())["exp101"]["gain"]
    monkeypatch.setattr(paired, "compare", lambda *_: pytest.fail("it is drawn again"))
    assert runs_of(data())["exp101"]["gain"] == first is not None
    declare(trained, "exp101", positive="healthy")
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        data()


def test_settings_that_are_not_the_default_and_curves(trained):
    found = data()
    run, record = runs_of(found)["exp101"], results.find_result("exp101").record
    assert run["settings"]["augment"] == "plain" and "tta" not in run["settings"]
    assert found["defaults"]["augment"] == "none" and set(found["defaults"]) >= set(run["settings"])
    assert set(run["history"]) == {"0", "1", "2"}
    assert [row["epoch"] for row in run["history"]["0"]] == list(range(1, record.settings["epochs"] + 1))
    assert {"loss", "auc", "train_loss", "accuracy"} <= set(run["history"]["0"][0])
    assert run["best_epochs"] == list(record.best_epochs)


def test_a_published_result_is_not_an_own_one(trained):
    publish("exp100")
    shutil.rmtree(trained.runs)
    found = data()
    (run,) = found["tables"][0]["runs"]
    assert (run["own"], found["tables"][0]["own"], set(run["history"])) == (False, 0, {"0", "1", "2"})


def in_twelve_digits(record: dict) -> dict:
    """Some processors sum by how an array lies in memory: the last of 16 digits may differ."""
    return json.loads(json.dumps(record), parse_float=lambda text: f"{float(text):.12g}")


def test_published_predictions_are_scored_again_by_the_rules_of_today(trained, capsys):
    publish("exp100")
    path = trained.root / "exps" / "results" / "exp100" / "scores.json"
    today = read_json(path)
    older = read_json(path)
    older["scores"]["at_half"]["auc"]["low"] -= 0.01
    older["scores"]["cross_fitted"]["f1"]["high"] += 0.01
    older["scores"]["cross_fitted"]["recall"]["value"] -= 0.5
    write_json(path, older)
    main.main(["publish", "--rescore"])
    assert "scored 1 published result again: 1 figure and 2 intervals are others" in capsys.readouterr().out
    assert in_twelve_digits(read_json(path)) == in_twelve_digits(today)
    main.main(["publish", "--rescore"])
    assert "0 figures and 0 intervals are others" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["exp100", "--rescore"]])
def test_one_run_is_published_or_all_are_scored_again(trained, words, capsys):
    with pytest.raises(SystemExit) as refused:
        main.main(["publish", *words])
    assert refused.value.code == 2 and "name a finished run to publish, or say --rescore" in capsys.readouterr().err


def test_a_metric_of_its_own_and_a_warning(project):
    store(project, "exp200", labelled())
    path = project.runs / "exp200" / "scores.json"
    at_half = read_json(path)["scores"]["at_half"] | {"log_loss": {"value": 0.4, "low": 0.3, "high": 0.5}}
    scores = read_json(path)["scores"] | {"at_half": at_half, "per_fold": [0.4, 0.5, 0.3]}
    declare(project, "exp200", metric="log_loss", higher_is_better=False, warning="CONFOUNDED", scores=scores)
    (table,) = data()["tables"]
    assert table["metric"] == {"key": "log_loss", "title": "log loss", "higher_is_better": False}
    assert (table["warning"], table["base"], table["positive"]) == ("CONFOUNDED", None, -1)
    assert table["runs"][0]["scores"]["competition"] == [0.4, 0.3, 0.5]


def test_a_figure_that_is_no_number_is_null(project):
    store(project, "exp200", exclusive())
    page = collect()
    run = page.tables[0].runs[0]
    run.scores["auc"] = (float("nan"), float("inf"), 0.5)
    assert data_of(html(page))["tables"][0]["runs"][0]["scores"]["auc"] == [None, None, 0.5]


def test_names_restrict_the_page_and_a_debug_run_is_shown_when_it_is_asked_for(trained):
    store(trained, "exp200", exclusive(3))
    shutil.copytree(trained.runs / "exp100", trained.runs / "exp102-debug")
    everything, one = data(), data("exp200")
    assert set(runs_of(everything)) == {"exp100", "exp101", "exp200"} and everything["sources"]
    assert set(runs_of(one)) == {"exp200"} and len(one["cases"]) == 1 and one["sources"] == []
    runs = runs_of(data("exp102-debug", "exp100"))
    kinds = {name: [mark["kind"] for mark in run["marks"]] for name, run in runs.items()}
    assert kinds["exp102-debug"] == ["debug", *kinds["exp100"]]
    with pytest.raises(InputError, match="no result 'exp2000' in runs/ .*did you mean exp200"):
        made("exp100", "exp2000")


def test_scores_of_a_leaderboard_stand_beside_their_run(trained):
    assert runs_of(data())["exp100"]["leaderboard"] is None
    submission(1, "exp100", ("0.5", ""))
    submission(2, "exp100", ("0.8123", ""), competition="chest-contest")
    submission(3, "exp101", ("0.9", "0.8"), files={"oof.parquet": "of an older run"})
    runs = runs_of(data())
    assert runs["exp100"]["leaderboard"] == {"competition": "chest-contest", "public": 0.8123, "private": None}
    assert runs["exp101"]["leaderboard"] is None


def submission(number: int, name: str, *scores: tuple[str, str], competition: str = "", **changes) -> None:
    """A submission file's record; `scores`: public and private of each upload."""
    record = results.find_result(name).record
    uploads = [Upload(competition=competition, marker="", message="", public=a, private=b) for a, b in scores]
    fields = dict(result=name, data=record.data, members=(name,), files=record.files, folds=record.folds, sha256="")
    about = SubmissionRecord.model_validate(fields | {"uploads": tuple(uploads)} | changes)
    about.write(submissions_dir() / f"{number:03d}_{name}.json")


def test_the_sources_tables_are_those_of_the_board(trained):
    found = {result.name: result for result in results.all_results()}
    expected = [[table.title, rows] for table, rows in published_baselines.filled_tables(found, {})]
    assert [[grid["title"], grid["rows"]] for grid in data()["sources"]] == expected


def test_the_same_results_make_the_same_page(trained):
    now, found = datetime(2026, 11, 21, tzinfo=UTC), results.all_results()
    assert to_json(build(found, found, now)) == to_json(build(found, found, now))
    assert data_of(html(build(found, found, now)))["made"] == "2026-11-21T00:00:00+00:00"


# Images


def test_the_hardest_images_come_first_then_what_all_miss_and_what_one_misses():
    task = exclusive()
    labels = np.array([0, 0, 0, 0, 1, 1])
    errors = Errors(7)
    for wrong in ([0.9, 0.2, 0.6, 0.1, 0.1, 0.3], [0.8, 0.1, 0.4, 0.1, 0.1, 0.3], [0.9, 0.1, 0.4, 0.1, 0.7, 0.2]):
        ill = np.where(labels == 1, 1 - np.array(wrong), wrong)
        errors.add(task, labels, np.stack([1 - ill, ill], axis=1), np.arange(6))
    assert errors.hardest() == [0, 2, 4, 5, 1, 3]  # in all; at first sight; of one result; the rest; row 6 is in none


def test_in_turn_each_once():
    assert in_turn([[1, 2, 3], [1, 4], [], [5]]) == [1, 5, 2, 4, 3]


def test_pictures_share_what_is_equal_and_keep_to_their_room(trained):
    ids = [f"t{n:03d}" for n in range(12)]
    images = trained.input / "tiny" / "images"
    shutil.copy(images / "t001.png", images / "t000.png")
    index = matching_index("tiny", results.find_result("exp100").oof()[1]["index_sha256"])
    pictures = Pictures()
    pictures.read([Wanted(index, ids)], 10**6)
    assert pictures.key("tiny", "t000") == pictures.key("tiny", "t001") and len(pictures.jpegs) == 11
    assert cv2.imdecode(np.frombuffer(next(iter(pictures.jpegs.values())), np.uint8), 0).shape == (32, 32)
    taken = sum(map(len, pictures.jpegs.values()))
    few = Pictures()
    few.read([Wanted(index, ids)], taken // 2)
    assert 3 < len(few.jpegs) < 11 and sum(map(len, few.jpegs.values())) <= taken // 2


def test_without_the_images_they_are_listed_without_pictures(trained):
    shutil.rmtree(trained.input / "tiny")
    found = data()
    (cases,) = found["cases"].values()
    assert found["thumbs"] == {} and [shown["thumb"] for shown in cases["shown"]] == [None] * 48


@pytest.mark.parametrize("has_images", [True, False], ids=["", "without its table"])
def test_what_divides_the_images(trained, has_images):
    """By the ids always, by a column where its table is there."""
    folder = trained.input / "tiny"
    with (folder / "dataset.toml").open("a") as declaration:
        declaration.write("subgroups.digit.pattern = '([0-4])$'\nsubgroups.machine.column = 'machine'\n")
    head, *lines = (folder / "train.csv").read_text().splitlines()
    divided = [f"{line},{['', '東', 'west'][n % 3]}" for n, line in enumerate(lines)]
    (folder / "train.csv").write_text("\n".join([f"{head},machine", *divided]) + "\n")
    if not has_images:
        (folder / "train.csv").unlink()
    (cases,) = data()["cases"].values()
    ids = results.find_result("exp100").oof()[0].sort_values("id")["id"].tolist()
    digit, *others = cases["subgroups"]
    assert (digit["name"], digit["values"]) == ("digit", list("01234"))
    last = [int(image[-1]) for image in ids]
    assert decoded(digit["codes"], "uint8").tolist() == [n if n < 5 else 255 for n in last]
    assert [(other["name"], other["values"]) for other in others] == [("machine", ["west", "東"])] * has_images
    machines = dict(zip((line.partition(",")[0] for line in lines), (255, 1, 0) * len(lines), strict=False))
    for other in others:
        assert decoded(other["codes"], "uint8").tolist() == [machines[image] for image in ids]


def test_other_images_of_the_same_ids_are_not_shown(trained):
    table = trained.input / "tiny" / "train.csv"
    table.write_text(table.read_text().replace("t000,healthy,p00", "t000,healthy,p19"))
    assert data()["thumbs"] == {}


def test_a_damaged_image_is_listed_without_a_picture(trained):
    damaged = sorted((trained.input / "tiny" / "images").glob("t*.png"))[::2]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:40])
    (cases,) = data()["cases"].values()
    for shown in cases["shown"]:
        assert (shown["thumb"] is None) == (f"{shown['id']}.png" in {path.name for path in damaged})


# What must not be on it


@pytest.mark.parametrize("attack", HOSTILE)
def test_texts_from_files_stay_texts(trained, attack):
    changed = {attack: [attack, [attack]]}
    declare(trained, "exp101", parent="exp100", machine=attack, warning=attack, changed=changed, settings={"x": attack})
    text = made()
    scripts = Scripts(text)
    assert [kind for kind, _ in scripts.found] == ["application/json", *[""] * (len(VENDOR) + 1)]
    assert text.count("</script>") == len(scripts.found) and "<!--" not in scripts.found[0][1]
    run = runs_of(data_of(text))["exp101"]
    assert run["machine"] == run["settings"]["x"] == attack


def test_a_browser_runs_these_scripts_and_asks_for_nothing(trained):
    text = made()
    scripts = Scripts(text)
    assert scripts.policy.startswith("default-src 'none';") and "unsafe-eval" not in scripts.policy
    for _, script in scripts.found[1:]:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in scripts.policy
    page = re.sub(r"<script.*?</script>", "", text, flags=re.S)
    assert "://" not in page and " src=" not in page and "@import" not in page and "url(" not in page
    assert "Not for clinical use" in page


def test_no_key_and_no_folder_of_this_machine_is_on_the_page(trained, monkeypatch):
    key = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", key)
    hide._secrets.cache_clear()
    token, home = "hf_" + "Ab1" * 10, "/home/nurse/secret-project"
    settings = results.find_result("exp101").record.settings
    settings |= {"backbone": f"{home}/net.pt", "folds": key, "monitor": f"x {token}", "tta": "C:\\Users\\nurse\\x"}
    settings |= {key: 1, "lr_milestones": [home]}
    changed = {"a": [key, home]}
    declare(trained, "exp101", parent="exp100", machine=str(trained.root), settings=settings, changed=changed)
    declare(trained, "exp100", warning=home, commit=key, kind="imported", source=f"{home}/oof.csv")
    text = made()
    for secret in (key, token, "nurse", str(trained.root), str(Path.home()) + "/"):
        assert secret not in text
    found = data_of(text)
    assert "(hidden)" in text and "(path)" in text
    assert len(wholes(found, runs_of(found)["exp101"], found["tables"][0])) == 60  # what hides texts leaves arrays


@pytest.mark.parametrize("words", ["folds/tiny.csv", "0.5 / 0.7", "train/PNEUMONIA/person1_virus_7", "a and/or b"])
def test_what_is_no_absolute_path_stays(words):
    assert hide.hide_secrets(words) == words


# The command


def test_the_command_writes_the_page_and_says_where(trained, capsys, monkeypatch):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or len(opened) > 1)
    main.main(["report"])
    path = trained.runs / "report.html"
    assert path.read_text().startswith("<!doctype html>") and not opened
    assert f"wrote {path}: 2 results, " in capsys.readouterr().out
    other = trained.root / "new" / "page.html"
    main.main(["report", "exp101", "--out", str(other), "--open"])
    assert opened == [other.as_uri()] and set(runs_of(data_of(other.read_text()))) == {"exp101"}
    assert f"no browser was found here; open {other} in one" in capsys.readouterr().out
    main.main(["report", "--open"])
    assert "no browser" not in capsys.readouterr().out


def test_a_page_needs_a_result_and_a_file_to_go_to(project, capsys):
    with pytest.raises(InputError, match="there is no finished result to report yet; start with: make demo"):
        write_report(project.root / "page.html")
    for place in (project.root, project.input / "tiny" / "train.csv" / "page.html"):
        with pytest.raises(InputError, match="--out .*: a file is needed"):
            write_report(place)
    table = project.input / "tiny" / "train.csv"
    before = table.read_bytes()
    with pytest.raises(InputError, match=r"train\.csv: it is there already, and is no page to be written over"):
        write_report(table)
    assert table.read_bytes() == before
    for seconds in ("0", "-3", "nan", "1e9"):
        with pytest.raises(SystemExit):
            main.main(["report", f"--watch={seconds}"])
        assert "1 to 86400 seconds" in capsys.readouterr().err


def test_damaged_learning_curves_are_one_sentence(trained):
    (trained.runs / "exp100" / "fold1" / "metrics.jsonl").write_text('{"epoch": 1,')
    with pytest.raises(InputError, match=r"fold1/metrics.jsonl is damaged .*; train again, or delete the file"):
        made()


def begin(project: Project, done: int) -> None:
    """A third run of which one fold is finished and one has `done` epochs."""
    run = project.runs / "exp103"
    for fold in (0, 1):
        shutil.copytree(project.runs / "exp100" / f"fold{fold}", run / f"fold{fold}", dirs_exist_ok=True)
    (run / "fold1" / "manifest.json").unlink()
    history = run / "fold1" / "metrics.jsonl"
    history.write_text("".join(history.read_text().splitlines(keepends=True)[:done]))


def test_what_is_unfinished_is_shown_with_its_curves_so_far(trained):
    begin(trained, 1)
    (run,) = data()["unfinished"]
    epochs = results.find_result("exp100").record.settings["epochs"]
    assert (run["name"], run["data"]) == ("exp103", "tiny")
    assert run["folds"] == [
        {"fold": 0, "done": epochs, "epochs": epochs, "finished": True},
        {"fold": 1, "done": 1, "epochs": epochs, "finished": False},
    ]
    assert [len(run["history"][fold]) for fold in ("0", "1")] == [epochs, 1]
    assert data("exp100")["unfinished"] == []
    assert runs_of(data("exp100", "exp103")).keys() == {"exp100"} and data("exp100", "exp103")["unfinished"] == [run]


def sleeping(monkeypatch, *steps) -> list[float]:
    """`time.sleep` of the watch does one of `steps` each time; then Ctrl-C comes. Returns what it was given."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > len(steps):
            raise KeyboardInterrupt
        steps[len(slept) - 1]()

    monkeypatch.setattr(watch, "time", type("Clock", (), {"sleep": staticmethod(sleep)}))
    return slept


def test_a_watched_page_is_written_again_only_when_something_changed(trained, monkeypatch, capsys):
    path = trained.runs / "report.html"
    seen: list[dict] = []

    def look() -> None:
        seen.append(data_of(path.read_text()))

    def train() -> None:
        look()
        begin(trained, 1)

    def publish_one() -> None:
        look()
        publish("exp100")
        time.sleep(0.01)

    slept = sleeping(monkeypatch, look, train, look, publish_one, look)
    main.main(["report", "--watch", "3"])
    assert slept == [3.0] * 6
    assert [page["refresh"] for page in seen] == [3] * 5
    assert seen[0]["made"] == seen[1]["made"] and seen[0] == seen[1]
    assert [len(page["unfinished"]) for page in seen] == [0, 0, 1, 1, 1]
    last = data_of(path.read_text())
    assert last["refresh"] == 0 and last["unfinished"] == seen[-1]["unfinished"]
    printed = capsys.readouterr().out
    assert printed.count("2 results, 1 unfinished") == 2
    assert printed.endswith(f"stopped watching; {path} stays as it is\n")


def test_a_watched_page_may_begin_without_a_result_and_survives_what_is_half_written(
    project, _trained_once, monkeypatch, capsys
):
    path = project.root / "page.html"

    def finish() -> None:
        assert data_of(path.read_text())["tables"] == []
        shutil.copytree(_trained_once.runs / "exp100", project.runs / "exp100")

    def damage() -> None:
        assert set(runs_of(data_of(path.read_text()))) == {"exp100"}
        (project.runs / "exp100" / "scores.json").write_text("{")

    def look() -> None:
        assert set(runs_of(data_of(path.read_text()))) == {"exp100"}

    sleeping(monkeypatch, finish, damage, look, look)
    main.main(["report", "--watch", "--out", str(path)])
    printed = capsys.readouterr().out
    assert printed.count("not written") == 1 and "scores.json is not valid JSON" in printed


def test_all_scripts_are_there():
    folder = Path(page.__file__).parent
    assert [name for name in WEB if not (folder / "web" / f"{name}.js").exists()] == []
    own = {path.stem for path in (folder / "web").glob("*.js")}
    assert own == set(WEB)
    for path in folder.rglob("*.js"):
        assert "</script" not in path.read_text(encoding="utf-8").lower()
