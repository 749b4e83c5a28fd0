"""RESULTS.md: sentences whose figures come from results, tables and pictures per question."""

import re

import pytest

from chestfold.evaluate.published_baselines import Line, SourceTable, source_tables
from chestfold.evaluate.results import published_results
from chestfold.report import article
from chestfold.report.publish import publish, write_results_page


@pytest.fixture
def published(trained, monkeypatch):
    """exp100 and exp101, and one question about them."""
    publish("exp100")
    publish("exp101")
    question = SourceTable(
        title="Is |it| better?",
        says="It has {exp101.auc}, shifted {exp101.corrupted.auc}, which gains {exp101 - exp100}.",
        note="Nothing of adults.",
        lines=(Line(what="first", experiment="exp100", theirs={"auc": 0.5}), Line(what="second", experiment="exp101")),
    )
    monkeypatch.setattr(article, "own_questions", lambda: (question,))
    return trained


def test_a_question_has_a_sentence_a_table_a_picture_and_a_limit(published):
    text = write_results_page().read_text()
    chapter = text.split("## Is |it| better?")[1].split("\n## ")[0]
    gain = r"[+-]\d\.\d{4} \[.*\] \((better|worse|not told apart)\)"
    assert re.search(rf"It has \d\.\d{{4}}, shifted \d\.\d{{4}}, which gains {gain}\.", chapter)
    assert "| first | the source | 0.500 | - | - | - |" in chapter
    assert "*What this does not say.* Nothing of adults." in chapter
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", chapter)
    assert (published.root / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("place", ["{exp777.auc}", "{exp100 - exp777}", "{exp777 - exp100}"])
def test_a_sentence_without_its_result_says_which_one(published, place):
    assert article.filled(f"It has {place}.", published_results()) == "Open: exp777 is not published."


def test_a_question_that_nobody_tried_is_left_out(published):
    text = write_results_page().read_text()
    assert not any(source.title in text for source in source_tables())


def test_variants_of_one_fold_give_way_to_those_of_all(published):
    line = Line(what="first", experiment="exp100")
    question = SourceTable(title="title", note="note", lines=(line,))
    results = published_results()
    (whole,) = article._shown(line, question, results)
    folds = whole.record.folds.model_copy(update={"trained": (0,)})
    part = type(whole)(whole.folder, whole.record.model_copy(update={"folds": folds}))
    both = {"exp100": whole, "exp100-short": part}
    assert article._shown(line, question, both) == [whole]
    assert article._shown(line, question, {"exp100-short": part}) == [part]


def test_every_place_of_the_committed_sentences_can_be_read():
    for question in (*article.own_questions(), *source_tables()):
        for place in article.PLACE.findall(question.says):
            assert re.fullmatch(r"[\w-]+( - [\w-]+|(\.corrupted)?\.(auc|recall|f1|accuracy))", place), place
