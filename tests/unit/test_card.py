"""The model card says what the files say, in both languages, and of what it does not know that it does not know it."""

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import record_of
from drawn_results import rows_of, store
from tasks import drawn_labels, exclusive, graded, labelled

from chestfold.cli import main
from chestfold.core import hide
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, sha256_file, write_json
from chestfold.core.task import create_task
from chestfold.data.catalogue import open_index
from chestfold.data.tables import read_table
from chestfold.evaluate.attention import ATTENTION, Attention
from chestfold.evaluate.leaderboard import format_score
from chestfold.evaluate.results import FoldsOfResult, Scores, find_result
from chestfold.report.card import image_flow
from chestfold.report.card.facts import Facts, gather
from chestfold.report.card.page import card, write_card
from chestfold.report.card.words import Words, texts

TASKS = [exclusive(2), exclusive(3), exclusive(4), labelled(), graded(4)]
HOSTILE = ("<b>x</b>&amp;", "</style><script>alert(1)</script>")


class Text(HTMLParser):
    """`cells`: the texts of each row of each table; `all`: every text of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.all: list[str] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, name, attributes):
        if name == "tr":
            self.cells.append([])
        self._inside = name in ("td", "th")
        if self._inside:
            self.cells[-1].append("")

    def handle_endtag(self, name):
        self._inside = False

    def handle_data(self, data):
        self.all.append(data)
        if self._inside:
            self.cells[-1][-1] += data

    def row(self, head: str) -> list[str]:
        """What follows `head` in the first table that has such a row."""
        return next(cells[1:] for cells in self.cells if cells and cells[0] == head)


def page(name: str, language: str = "en") -> Text:
    return Text(card(gather(find_result(name)), language))


def on_tiny(project, name: str = "net", trained=(0, 1, 2), **fields):
    """A result on `tiny` and its own fold file, as after a training."""
    digest = sha256_file(project.root / "folds" / "tiny.csv")
    folds = FoldsOfResult(file="tiny", count=3, sha256=digest, trained=tuple(trained))
    table = open_index("tiny")
    rows = table.train.merge(read_table(project.root / "folds" / "tiny.csv")[["id", "fold"]], on="id")
    rows["fold"] = rows["fold"].astype(int)
    tests = table.test.assign(fold=-1)
    return store(project, name, exclusive(), rows, tests, trained=trained, folds=folds, **fields)


# Figures


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}{len(task.classes)}")
def test_every_figure_is_the_record_s(project, task, language):
    rows = rows_of(task, drawn_labels(task, 120))
    tests = rows_of(task, drawn_labels(task, 60, seed=1)).assign(fold=-1)
    record = store(project, "net", task, rows, tests).record
    shown, words, scores = page("net", language), Words(language), record.scores
    for name, score in scores.at_half.items():
        columns = [str(score)]
        if scores.cross_fitted:
            columns.append(str(scores.cross_fitted[name]))
        assert shown.row(words.metric(name)) == [*columns, str(scores.test.at_half[name])]
    for name, counts in zip(task.classes, scores.confusion, strict=True):
        assert [name, *map(str, counts)] in shown.cells
    for label, figures in (scores.by_label or {}).items():
        assert [label, *map(str, figures.values())] in shown.cells
    text = " ".join(shown.all)
    assert ", ".join(f"{value:.4f}" for value in scores.per_fold_auc) in text and scores.auc_of_folds in text
    assert scores.threshold is None or f"{scores.threshold:.4f}" in text


@pytest.mark.parametrize("task", TASKS, ids=lambda task: f"{task.name}{len(task.classes)}")
def test_base_rates_are_those_of_the_scored_labels(project, task):
    labels = drawn_labels(task, 120)
    store(project, "net", task, rows_of(task, labels))
    truth = task.truth(task.labels(rows_of(task, labels)["label"].tolist()))
    rates = gather(find_result("net")).base_rates()
    assert [rate["label"] for rate in rates] == [task.classes[number] for number in task.scored_classes]
    for rate, number in zip(rates, task.scored_classes, strict=True):
        assert rate["count"] == np.nansum(truth[:, number]) and rate["total"] == (~np.isnan(truth[:, number])).sum()


def test_the_parts_that_a_data_set_is_divided_into_have_a_row_each(project):
    declaration = project.input / "tiny" / "dataset.toml"
    declaration.write_text(declaration.read_text() + "subgroups.tens.pattern = '^t0([0-3])'\n")
    result = on_tiny(project)
    for language in ("en", "ja"):
        shown = page("net", language)
        for value, scores in result.by_subgroup()["tens"].items():
            figures = [format_score(getattr(scores, name)) for name in ("recall", "specificity", "accuracy", "auc")]
            figures[-1] += "*" if scores.auc_against_all else ""
            assert shown.row(f"tens: {value}") == [str(scores.images), str(scores.patients), *figures]
    assert gather(result).claim(Words("en"))[35][2] == "section 5 in part; the rest by the authors"


# Images


def test_the_flow_counts_what_was_read_refused_joined_dealt_and_scored(project):
    on_tiny(project, trained=(0, 2))
    (project.input / "tiny" / "images" / "x000.png").write_bytes(b"")
    copy = (project.input / "tiny" / "images" / "x001.png").read_bytes()
    (project.input / "tiny" / "images" / "x002.png").write_bytes(copy)
    text = " ".join(page("net").all)
    record = read_json(project.root / "folds" / "tiny.json")
    sizes = [sum(record["images"][fold].values()) for fold in "012"]
    assert "Read: 72 images of 32 patients" in text and "Training: 60 images of 20 patients" in text
    assert "Test: 12 images of 12 patients" in text and "label withheld" in text
    assert "Unreadable: 1" in text and "In all images today: 1 sets of identical files" in text
    assert f"{record['leaks']['found']['groups']} groups are left" in text
    for number, size in enumerate(sizes):
        assert f"Fold {number}: {size} images" in text
    assert f"Scored out of fold: {sizes[0] + sizes[2]} images" in text
    assert f"Not scored: {sizes[1]} images of folds that were not trained (1)" in text


def test_without_its_images_it_says_what_only_they_know(project):
    on_tiny(project)
    shutil.rmtree(project.input / "tiny")
    text = " ".join(page("net").all)
    assert "input/ does not hold the images" in text and "Read:" not in text and "Unreadable" not in text
    assert "Fold 0: " in text and "Scored out of fold: 60 images" in text and "Test: 12 images" in text
    assert page("net").row("Licence") == ["not known here"]


def test_other_images_are_not_taken_for_those_of_the_run(project):
    on_tiny(project)
    table = project.input / "tiny" / "train.csv"
    table.write_text(table.read_text().replace("t000,healthy", "t000,ill"))
    assert "input/ does not hold the images" in " ".join(page("net").all)


@pytest.mark.parametrize("change", ["missing", "another"])
def test_without_its_fold_file_the_folds_are_not_known(project, change):
    on_tiny(project, trained=(0,))
    path = project.root / "folds" / "tiny.csv"
    path.unlink() if change == "missing" else path.write_bytes(path.read_bytes() + b"\n")
    shown = page("net")
    text = " ".join(shown.all)
    assert "What the folds hold is not known here" in text and "Fold 0:" not in text
    assert "Not scored: not known here images" in text
    assert shown.row("Scheme") == shown.row("Leaks") == ["not known here"]


def test_a_search_that_would_take_long_is_left_out_and_named(project, monkeypatch):
    on_tiny(project)
    monkeypatch.setattr(image_flow, "LIMIT", 0.0)
    text = " ".join(page("net").all)
    assert "it would take longer than a minute (chestfold data check tiny)" in text and "Unreadable" not in text


# Kinds of result


def test_an_experiment_shows_its_recipe_and_where_its_weights_came_from(trained):
    shown = page("exp100")
    record = find_result("exp100").record
    assert shown.row("Network") == ["test_resnet"] and shown.row("Initial weights") == ["random"]
    assert shown.row("Code") == [Words("en").known(record.commit)] and record.machine in shown.row("Machine")[0]
    assert f"{record.best_epochs[0]}, {record.best_epochs[1]}" in shown.row("Final network")[0]
    assert shown.row("Minutes") == [f"{record.minutes:.1f}"] and record.versions["torch"] in shown.row("Versions")[0]


@pytest.mark.parametrize("weights", ["hub", "ab" * 32, ""])
def test_pretrained_weights_are_named_by_their_hash_where_it_is_known(trained, weights):
    path = trained.runs / "exp100" / "scores.json"
    record = read_json(path)
    write_json(path, record | {"settings": record["settings"] | {"pretrained": True}})
    config = trained.runs / "exp100" / "fold0" / "config.json"
    about = read_json(config)
    write_json(config, about | {"fingerprint": about["fingerprint"] | {"weights": weights}})
    said = {"hub": "from its hub", "": "SHA-256 not known here"}.get(weights, f"SHA-256 {weights[:16]}")
    assert said in page("exp100").row("Initial weights")[0]


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (dict(kind="imported", source="theirs.csv"), "theirs.csv"),
        (dict(kind="ensemble", method="mean", members=("exp1", "exp2"), weights=(0.5, 0.5)), "exp1, exp2"),
        (dict(warning="CONFOUNDED: look at the source"), "CONFOUNDED: look at the source"),
        (dict(synthetic=({"images": 7, "made_from": 3},)), "7"),
        (dict(settings={"backbone": "resnet18", "start_from": "exp009"}, parent="exp009"), "exp009"),
        (dict(settings={"backbone": "resnet18", "average_last": 3}), "3"),
    ],
)
def test_other_kinds_of_result_and_what_must_be_said_of_them(project, fields, said, language):
    on_tiny(project, **fields)
    assert said in " ".join(page("net", language).all)


def test_a_debug_run_and_missing_folds_are_said(project):
    on_tiny(project, "net-debug", trained=(1,))
    text = " ".join(page("net-debug").all)
    assert "This is a debug run" in text and "Only fold 1 of 3 were trained" in text


def test_a_result_without_a_test_split_has_no_column_and_no_box_of_it(project):
    task = exclusive()
    store(project, "net", task, rows_of(task, drawn_labels(task, 60)))
    shown = page("net")
    assert len(shown.row("AUC")) == 2 and "Test:" not in " ".join(shown.all)


# CLAIM


def test_all_items_of_claim_are_there_and_only_what_is_known_is_filled(project):
    on_tiny(project)
    facts = gather(find_result("net"))
    for language in ("en", "ja"):
        words = Words(language)
        items = facts.claim(words)
        assert [number for number, _, _ in items] == [str(n) for n in range(1, 45)]
        place = {int(number): where for number, _, where in items}
        for number in (1, 2, 5, 14, 21, 30, 31, 33, 34, 36, 44):
            assert place[number] == words("by_authors")
        for number, section in ((19, "4"), (29, "4"), (35, "3"), (37, "5")):
            assert section in place[number]
    explained = Facts(facts.result, facts.images, None, None, "")
    assert explained.claim(Words("en"))[6][2] == "to be written by the authors", "no declaration, no source"


def test_both_languages_say_the_same_with_the_same_figures(project):
    said = texts()
    assert list(said["en"]) == list(said["ja"])
    for key, text in said["en"].items():
        if key != "metrics":
            assert sorted(re.findall(r"\{(\w+)", text)) == sorted(re.findall(r"\{(\w+)", said["ja"][key])), key
    on_tiny(project)
    both = card(gather(find_result("net")), "both")
    assert both.count("<article") == 2 and both.index('lang="en"') < both.index('<article lang="ja"')
    figures = [re.findall(r"\d\.\d{4} \[.*?\]", article) for article in both.split("<article")[1:]]
    assert figures[0] == figures[1] and len(figures[0]) >= 14


# The file


def test_names_that_would_be_markup_remain_texts(project, monkeypatch):
    monkeypatch.setattr(hide, "_secrets", lambda: ["0123456789abcdef"])
    task = create_task("multiclass", HOSTILE, HOSTILE[1])
    labels = drawn_labels(task, 60)
    about = dict(warning="0123456789abcdef <img src=x>", machine="/root/secret/place", kind="imported", source="{name}")
    store(project, "net", task, rows_of(task, labels), **about)
    text = card(gather(find_result("net")), "both")
    assert "<script" not in text and "<b>" not in text and "<img" not in text
    assert "0123456789abcdef" not in text and "/root/secret" not in text
    assert "script-src" not in text and "default-src 'none'" in text
    assert HOSTILE[1] in " ".join(Text(text).all) and "{name}" in text


def test_the_command_writes_it(project, capsys):
    on_tiny(project)
    main.main(["report", "--card", "net", "--language", "both"])
    path = project.runs / "card_net.html"
    assert str(path) in capsys.readouterr().out and path.read_text().startswith("<!DOCTYPE html>")
    main.main(["report", "--card", "net", "--out", str(project.root / "own.html")])
    assert 'lang="en"' in (project.root / "own.html").read_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--language", "ja"], "--language is of a card"),
        (["other", "--card", "net"], "--card NAME is of one result"),
        (["--card", "net", "--watch"], "--card NAME is of one result"),
    ],
)
def test_options_that_would_do_nothing_are_refused(project, capsys, words, said):
    on_tiny(project)
    with pytest.raises(SystemExit) as stop:
        main.main(["report", *words])
    complaint = capsys.readouterr().err
    assert stop.value.code == 2 and said in complaint and complaint.count("\n") == 1


def test_what_cannot_be_written_is_one_sentence(project):
    on_tiny(project)
    with pytest.raises(InputError, match="no finished result called 'nobody'"):
        write_card("nobody", "en", project.root / "x.html")
    with pytest.raises(InputError, match="plain name"):
        write_card("../net", "en", project.root / "x.html")
    with pytest.raises(InputError, match="a file is needed"):
        write_card("net", "en", project.root)


def test_where_it_looks_is_shown_in_words(project):
    on_tiny(project)
    score = {"all": {"value": 0.5, "low": 0.4, "high": 0.6}}
    measures = {target: {"border": score, "pointing": score} for target in ("predicted", "positive", "even")}
    about = dict(method="gradcam", layer="layer4", grid=(4, 4), image_size=32, view="", folds={}, checked=0)
    about |= dict(images={"ill": 3}, empty_maps={}, lungs={}, lungs_do_not_apply="", measures=measures, checks={})
    record = record_of("net")
    about |= dict(name="net", data="tiny", classes=record.classes, positive="ill", fingerprint={}, commit="", date="")
    path = project.runs / "net" / ATTENTION
    path.parent.mkdir(parents=True)
    Attention.model_validate(about).write(path)
    shown = page("net", "ja")
    assert shown.row("画像の縁") == ["0.5000 [0.4000, 0.6000]", "0.5000"]
    assert gather(find_result("net")).claim(Words("en"))[30][2] == "section 6"


@pytest.mark.parametrize(
    ("folds", "shown"),
    [
        ([0.9, 0.92, 0.88], "0.9000 ± 0.0200"),
        ([0.9, float("nan")], "-"),
        ([0.9], "-"),
        (None, "-"),
    ],
)
def test_the_mean_of_folds_needs_a_figure_of_each_of_several(folds, shown):
    assert Scores(at_half={}, confusion=[], per_fold_auc=folds).auc_of_folds == shown
