"""The page shows what the files say: the board's figures, charts that agree with the scores, and nothing else."""

import re
import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score, roc_curve
from tasks import drawn as labels_drawn
from tasks import exclusive, labelled

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, submissions_dir, write_json
from chestfold.core.task import create_task
from chestfold.core.task.multilabel import label_text
from chestfold.evaluate import leaderboard, results
from chestfold.evaluate.bootstrap import Score
from chestfold.evaluate.metrics import METRICS, Predicted, value_of
from chestfold.integrations.kaggle.submission import SubmissionRecord, Upload
from chestfold.report import charts, curves, render
from chestfold.report.charts import Curve
from chestfold.report.page import page, write_report
from chestfold.report.publish import publish
from chestfold.report.worst_errors import worst_errors

NOW = datetime(2026, 11, 21, tzinfo=UTC)
STYLE = Path(render.__file__).with_name("style.css").read_text()


class Tables(HTMLParser):
    """Class of a table -> its tables, each a list of rows, each a list of the cells' texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: dict[str, list[list[list[str]]]] = {}
        self._cell: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, name, attributes):
        if name == "table":
            self._rows: list[list[str]] = []
            self.found.setdefault(dict(attributes).get("class", ""), []).append(self._rows)
        elif name == "tr":
            self._rows.append([])
        elif name in ("td", "th"):
            self._cell = []

    def handle_data(self, data):
        if self._cell is not None:
            self._cell.append(data)

    def handle_endtag(self, name):
        if name in ("td", "th"):
            self._rows[-1].append("".join(self._cell).strip())
            self._cell = None


def made() -> str:
    return page(results.all_results(), NOW)


def drawn(macro: str, *values) -> str:
    """What a macro of charts.html makes of some values."""
    return str(getattr(render._environment().get_template("charts.html").module, macro)(*values))


def section(text: str, name: str) -> str:
    """The markup of one result."""
    return text.split(f'id="{name}" class="card result"')[1].split('class="card result"')[0]


def declare(project, name: str, **changes) -> None:
    """Change what a result says of itself."""
    path = project.runs / name / "scores.json"
    write_json(path, read_json(path) | changes)


def predicted(classes: int, count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels and probabilities that know something of them, with ties."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    scores = rng.gamma(1.0, size=(count, classes)) + 2 * (np.arange(classes) == labels[:, None])
    return labels, np.round(scores / scores.sum(axis=1, keepdims=True), 2)


# Figures


def test_every_figure_of_the_page_is_the_board_s_text_row_by_row(trained):
    declare(trained, "exp101", parent="exp100", changed={"seed": [0, 1]})
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    text = made()
    tables = leaderboard.rows_by_folds(results.all_results())
    shown = Tables(text).found["board"]
    assert len(shown) == len(tables) == 1
    for rows, (head, *lines) in zip(tables.values(), shown, strict=True):
        assert [line[0] for line in lines] == [row.result.name + row.what for row in rows]
        for row, line in zip(rows, lines, strict=True):
            texts = leaderboard.texts_of(row)
            named = [name for name in head if name not in ("result", "folds")]
            assert len(named) == 7
            assert {k: dict(zip(head, line, strict=True))[k] for k in named} == {k: texts[k] for k in named}
            ((_, *figures),) = Tables(section(text, row.result.name)).found["figures"]
            assert dict(figures) == {
                k: v for k, v in texts.items() if k not in ("result", "minutes", "what") and v != "-"
            }


def test_runs_with_folds_missing_stand_in_a_table_of_their_own(trained):
    from conftest import tiny_experiment

    trained.run(tiny_experiment(epochs=1), "--fold", "0", name="exp102")
    tables = Tables(made()).found["board"]
    assert [dict(zip(*lines[:2], strict=True))["folds"] for lines in tables] == ["3 of 3", "1 of 3"]
    assert tables[1][1][0].startswith("exp102") and len(tables[1]) == 2


def test_a_debug_run_is_not_shown(trained):
    from conftest import tiny_experiment

    trained.run(tiny_experiment(), "--debug")
    write_report(trained.root / "page.html")
    assert "exp100-debug" not in (trained.root / "page.html").read_text()


def test_a_section_shows_settings_changes_curves_and_counts(trained):
    declare(trained, "exp101", parent="exp100", changed={"seed": [0, 1], "augment": ["none", "plain"]})
    whole = section(made(), "exp101")
    changed, settings = Tables(whole).found["settings"]
    assert changed == [["setting", "exp100", "exp101"], ["seed", "0", "1"], ["augment", "none", "plain"]]
    assert ["augment", "plain"] in settings and 'href="#exp100"' in whole
    scores = results.find_result("exp101").record.scores
    for name in ("loss", "AUC", "accuracy"):
        assert f'aria-label="exp101: {name} over the epochs"' in whole
    assert whole.count("training") >= 6 and whole.count("<title>epoch ") == 3 * 3
    counts = [[int(cell.split()[0]) for cell in row[1:]] for row in Tables(whole).found["confusion"][0][1:]]
    assert counts == scores.confusion
    for value in [*scores.per_fold_auc, *scores.corrupted.per_corruption.values()]:
        assert f">{value:.4f}</text>" in whole


def test_an_ensemble_shows_its_members_and_weights(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both", "--method", "greedy"])
    whole = section(made(), "both")
    weights = results.find_result("both").record.weights
    tables = Tables(whole).found[""]
    assert tables[0] == [["member", "weight"], *[[f"exp10{n}", f"{w:.3f}"] for n, w in enumerate(weights)]]
    assert "Learning curves" not in whole and "greedy (this one)" in whole


def test_the_sources_tables_stand_at_the_end(trained):
    from chestfold.evaluate import published_baselines

    shown = Tables(made()).found["source"]
    found = {r.name: r for r in results.all_results()}
    assert [lines[1:] for lines in shown] == [lines for _, lines in published_baselines.filled_tables(found, {})]


def test_the_header_says_when_from_how_many_and_what_it_is_not_for(trained):
    text = made()
    assert "2026-11-21 00:00 UTC" in text and "from 2 results" in text and "Not for clinical use." in text


def test_the_same_results_make_the_same_page(trained):
    assert made() == made()


# Charts


@pytest.mark.parametrize("classes", [2, 3])
def test_roc_points_are_those_of_scikit_learn_and_the_area_is_the_score(classes):
    labels, probs = predicted(classes)
    task = exclusive(classes)
    shown = curves.columns(task, labels, probs)
    numbers = [1] if classes == 2 else [0, 1, 2]
    assert [column.name for column in shown] == [task.classes[number] for number in numbers]
    for number, curve in zip(numbers, curves.roc(shown), strict=True):
        fpr, tpr, _ = roc_curve(labels == number, probs[:, number], drop_intermediate=False)
        assert set(zip(curve.x, curve.y, strict=True)) <= set(zip(fpr, tpr, strict=True))
        area = roc_auc_score(labels == number, probs[:, number])
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(area) and f"{area:.4f}" in curve.name


def test_a_class_that_no_image_has_draws_no_curve():
    labels, probs = predicted(3)
    labels[labels == 2] = 0
    shown = curves.columns(exclusive(3), labels, probs)
    assert [column.name for column in shown] == ["healthy", "ill"]


def test_precision_and_recall_begin_and_end_where_they_must():
    labels, probs = predicted(2)
    (curve,) = curves.precision_recall(curves.columns(exclusive(), labels, probs))
    assert (curve.x[0], curve.y[0], curve.x[-1]) == (0, 1, 1)
    assert np.all(np.diff(curve.x) >= 0) and curve.y[-1] == pytest.approx((labels == 1).mean())


@pytest.mark.parametrize("classes", [2, 4])
def test_the_reliability_bins_add_up_to_the_calibration_error(classes):
    labels, probs = predicted(classes)
    bins = curves.reliability(exclusive(classes), labels, probs)
    assert sum(b.count for b in bins) == len(labels)
    gap = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(labels)
    error = value_of(METRICS["ece"], Predicted(exclusive(classes), labels, probs))
    assert gap == pytest.approx(error)
    drawing = drawn("reliability", "r", bins)
    assert all(f"{b.low:.3f} to {b.high:.3f}: {b.count} images" in drawing for b in bins)


def test_a_drawn_line_goes_through_its_points():
    axes = charts.Axes((0, 1), (0, 2))
    path = axes.path(Curve("", np.array([0.0, 0.5, 1.0]), np.array([0.0, 2.0, 1.0])))
    points = [tuple(map(float, p.split(","))) for p in path.removeprefix("M").split()]
    assert points == [(axes.px(0), axes.py(0)), (axes.px(0.5), axes.py(2)), (axes.px(1), axes.py(1))]
    assert axes.py(2) < axes.py(0)


def test_crowded_points_are_thinned_and_both_ends_stay():
    points = [(n / 100, 0.0) for n in range(1000)]
    kept = charts.thin(points)
    assert kept[0] == points[0] and kept[-1] == points[-1] and len(kept) < 20


@pytest.mark.parametrize("low, high", [(0, 1), (0.9912, 0.9987), (0.04, 3.2), (1, 10)])
def test_ticks_are_few_and_inside(low, high):
    found = charts.ticks((low, high))
    assert 2 <= len(found) <= 8 and low <= found[0] and found[-1] <= high


def test_an_auc_that_is_no_number_draws_nothing_and_breaks_nothing():
    nothing = float("nan")
    assert drawn("interval", Score(nothing, nothing, nothing), (0.5, 1)).strip() == ""
    assert "<circle" in drawn("interval", Score(0.7, 0.6, 0.8), (0.5, 1))
    assert charts.spread([nothing, nothing])[0] < charts.spread([nothing, nothing])[1]
    bars = drawn("auc_bars", "AUC", {"fold 0": nothing, "fold 1": 0.7}, ("all", nothing))
    assert '"nan"' not in bars and ">nan</text>" in bars


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_words_and_lines_stand_out_by_day_and_by_night(scheme):
    block = re.findall(r":root \{(.*?)\}", STYLE, re.S)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", block))
    for name, least in {"ink": 7, "soft": 4.5, "accent": 4.5, **{f"c{n}": 3 for n in range(charts.COLOURS)}}.items():
        for ground in ("card", "paper"):
            dark, light = sorted([luminance(colours[name]), luminance(colours[ground])])
            assert (light + 0.05) / (dark + 0.05) >= least, (name, ground)


# Worst errors and their images


def test_the_worst_errors_are_the_wrong_answers_that_were_surest():
    probs = np.array([0.9, 0.2, 0.6, 0.4, 0.99])
    frame = pd.DataFrame({"id": list("abcde"), "group": list("abcde"), "fold": 0, "label": list("nynyn")})
    frame = frame.assign(n=1 - probs, y=probs)
    task = create_task("multiclass", ("n", "y"), "y")
    found = worst_errors(frame, task)
    assert [m.id for m in found] == ["e", "a", "b", "c", "d"]
    assert (found[0].label, found[0].predicted, found[0].probability) == ("n", "y", 0.99)
    assert (found[2].label, found[2].predicted, found[2].probability) == ("y", "n", 0.8)
    many = pd.concat([frame.assign(id=f"{n}") for n in range(9)], ignore_index=True)
    assert len(worst_errors(many, task)) == 12


def test_each_image_is_on_the_page_once(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    text = made()
    keys = re.findall(r'data-image="(i\d+)"', text)
    stored = re.findall(r'"(i\d+)": "data:image/jpeg;base64,', text)
    assert set(keys) == set(stored) and len(stored) == len(set(stored)) < len(keys)


def test_without_the_images_the_errors_are_a_list(trained):
    shutil.rmtree(trained.input / "tiny")
    text = made()
    assert text.count("Without images: those that this was trained on are not in input/") == 2
    assert "<img" not in text and Tables(text).found[""][0][0] == ["id", "true", "predicted", "probability", "fold"]


def test_other_images_of_the_same_ids_are_not_shown(trained):
    table = trained.input / "tiny" / "train.csv"
    table.write_text(table.read_text().replace("t000,healthy,p00", "t000,healthy,p19"))
    assert made().count("Without images: those that this was trained on are not in input/") == 2


def test_a_damaged_image_is_a_card_without_an_image(trained):
    for path in (trained.input / "tiny" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    text = made()
    assert ">unreadable</p>" in text and "<img" not in text


# Published results, several classes, leaderboard scores


def test_a_published_result_without_its_run_says_that_it_has_no_curves(trained):
    publish("exp100")
    shutil.rmtree(trained.runs)
    whole = section(made(), "exp100")
    assert "learning curves of a published result are not published" in whole and ": ROC" in whole


def test_more_than_two_classes_draw_a_line_each(trained):
    labels, probs = predicted(3, 60)
    first, origin = results.find_result("exp100").oof()
    names = ["a", "b", "c"]
    frame = first[["id", "group", "fold"]].assign(label=[names[n] for n in labels])
    frame[names] = probs / probs.sum(axis=1, keepdims=True)
    about = results.find_result("exp100").record.model_dump(exclude={"name", "scores", "files"})
    about |= {"classes": names, "positive": "a"}
    results.write_result(trained.runs / "three", frame, None, None, origin, about)
    whole = section(made(), "three")
    for drawing in ("ROC", "precision over recall"):
        assert whole.split(f'aria-label="three: {drawing}"')[1].split("</svg>")[0].count("<path") == 3
    assert "b, AUC 0." in whole and "under each corruption" not in whole


def test_several_labels_have_the_competition_s_metric_in_front_and_outcomes_in_words(trained):
    """Its declared metric heads the section and the board, whose bars are of it."""
    task = labelled()
    first, origin = results.find_result("exp100").oof()
    labels, probs = labels_drawn(task, len(first))
    texts = [label_text(task.classes, row) for row in labels]
    frame = first[["id", "group", "fold"]].assign(label=texts)
    frame[list(task.classes)] = probs
    about = results.find_result("exp100").record.model_dump(exclude={"name", "scores", "files"})
    about |= {"task": task.name, "classes": task.classes, "positive": "", "metric": "log_loss"}
    result = results.write_result(trained.runs / "several", frame, None, None, origin | {"task": task.name}, about)
    text = made()
    whole, score = section(text, "several"), result.competition_score
    assert f"log loss {score.value:.4f}" in whole.split('class="headline">')[1][:40]
    (head, *lines) = Tables(whole).found["confusion"][0]
    assert head[1:] == ["true negative", "false positive", "false negative", "true positive"]
    assert [line[0] for line in lines] == list(task.classes)
    assert [[int(cell.split()[0]) for cell in line[1:]] for line in lines] == result.record.scores.confusion
    assert whole.split('aria-label="several: ROC"')[1].split("</svg>")[0].count("<path") == 3
    assert {rows[0][1] for rows in Tables(text).found["board"]} == {"AUC", "log loss (competition)"}
    assert "Bars: log loss (competition) with its 95 % interval" in text and "Bars: AUC with its" in text


def submission(number: int, name: str, *scores: tuple[str, str], competition: str = "", **changes) -> None:
    """A submission file's record; `scores`: public and private of each upload."""
    record = results.find_result(name).record
    uploads = [Upload(competition=competition, marker="", message="", public=a, private=b) for a, b in scores]
    fields = dict(result=name, data=record.data, members=(name,), files=record.files, folds=record.folds, sha256="")
    about = SubmissionRecord.model_validate(fields | {"uploads": tuple(uploads)} | changes)
    about.write(submissions_dir() / f"{number:03d}_{name}.json")


def test_scores_of_a_leaderboard_are_shown_beside_validation(trained):
    assert "No submission has a score" in made()
    submission(1, "exp100", ("0.5", ""))
    submission(2, "exp100", ("0.8123", ""))
    submission(3, "exp101")
    text = made()
    head, *lines = Tables(text).found["board"][0]
    assert {line[0][:6]: line[head.index("LB public")] for line in lines} == {"exp100": "0.8123", "exp101": "-"}
    assert "<figcaption>tiny (folds/" in text
    submission(4, "exp101", ("0.7", ""), competition="chest-contest")
    assert "<figcaption>chest-contest: tiny (folds/" in made()
    assert "LB private" not in head and "No submission has a score" not in text
    auc = results.find_result("exp100").score("at_half", "auc")
    assert f"exp100: out-of-fold {auc.value:.4f} [{auc.low:.4f}, {auc.high:.4f}], public 0.8123" in text


def test_the_score_of_an_older_run_of_the_same_name_does_not_count(trained):
    submission(1, "exp100", ("0.9", ""), files={"oof.parquet": "another"})
    assert "No submission has a score" in made()


# What must not be on it


def test_texts_from_files_stay_texts(trained):
    attack = '"><script>alert(1)</script>'
    declare(trained, "exp101", parent=attack, machine=attack, changed={attack: [attack, attack]})
    text = made()
    assert text.count("<script") == 2 and "<script>alert" not in text and "&lt;script&gt;alert(1)" in text


def test_no_key_and_no_folder_of_this_machine_is_on_the_page(trained, monkeypatch):
    key = "0123456789abcdef0123456789abcdef01234567"
    monkeypatch.setenv("WANDB_API_KEY", key)
    render._secrets.cache_clear()
    token, home = "hf_" + "Ab1" * 10, "/home/nurse/secret-project"
    settings = results.find_result("exp101").record.settings
    settings |= {"backbone": f"{home}/net.pt", "folds": key, "monitor": f"x {token}", "tta": "C:\\Users\\nurse\\x"}
    declare(
        trained, "exp101", parent="exp100", machine=str(trained.root), settings=settings, changed={"a": [key, home]}
    )
    text = made()
    for secret in (key, token, "nurse", str(trained.root), str(Path.home()) + "/"):
        assert secret not in text
    assert "(hidden)" in text and "(path)" in text


@pytest.mark.parametrize("words", ["folds/tiny.csv", "0.5 / 0.7", "train/PNEUMONIA/person1_virus_7", "a and/or b"])
def test_what_is_no_absolute_path_stays(words):
    assert render.hide_secrets(words) == words


def test_the_page_asks_for_nothing_from_anywhere(trained):
    text = made()
    assert "://" not in text and " src=" not in text and "@import" not in text and "url(" not in text
    assert "default-src 'none'" in text


# The command


def test_the_command_writes_the_page_and_says_where(trained, capsys):
    main.main(["report"])
    path = trained.runs / "report.html"
    assert path.read_text().startswith("<!DOCTYPE html>")
    assert f"wrote {path}: 2 results, " in capsys.readouterr().out
    main.main(["report", "--out", str(trained.root / "new" / "page.html")])
    assert (trained.root / "new" / "page.html").exists()


def test_a_page_needs_a_result_and_a_file_to_go_to(project):
    with pytest.raises(InputError, match="there is no finished result to report yet; start with: make demo"):
        write_report(project.root / "page.html")
    for place in (project.root, project.input / "tiny" / "train.csv" / "page.html"):
        with pytest.raises(InputError, match="--out .*: a file is needed"):
            write_report(place)


def test_damaged_learning_curves_are_one_sentence(trained):
    (trained.runs / "exp100" / "fold1" / "metrics.jsonl").write_text('{"epoch": 1,')
    with pytest.raises(InputError, match=r"fold1/metrics.jsonl is damaged .*; train again, or delete the file"):
        made()
