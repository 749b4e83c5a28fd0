"""The board shows results from files alone; RESULTS.md is made from the published ones alone."""

import re
import shutil

import pytest
from conftest import tiny_experiment

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.evaluate import leaderboard, results
from chestfold.report.publish import command, publish, write_results_page

FILES = {"scores.json", "oof.parquet", "corrupted.parquet", "test.parquet"}


def page(project) -> str:
    return (project.root / "RESULTS.md").read_text()


def rows_of(name: str) -> dict[str, str]:
    """Column of the board -> text, for one result."""
    tables = leaderboard.rows_by_folds(results.all_results()).values()
    (row,) = (r for rows in tables for r in rows if r.result.name == name)
    return dict(zip(leaderboard.HEADER, leaderboard.cells(row), strict=True))


# The board


def test_a_row_shows_the_scores_with_their_intervals(trained):
    result, row = results.find_result("exp100"), rows_of("exp100")
    assert row["AUC"] == str(result.score("at_half", "auc"))
    assert row["AUC, shifted"] == str(result.score("corrupted", "auc"))
    assert "[" in row["F1"] and "[" in row["F1 tuned"]
    assert row["what"] == "test_resnet 32 px" and row["test AUC"] == row["AUC against parent"] == "-"


def test_the_best_result_stands_first(trained):
    rows = next(iter(leaderboard.rows_by_folds(results.all_results()).values()))
    assert {r.result.name for r in rows} == {"exp100", "exp101"}
    assert rows[0].scores["auc"].value >= rows[1].scores["auc"].value


def declare(project, name: str, **changes) -> None:
    """Change what a result says of itself."""
    path = project.runs / name / "scores.json"
    write_json(path, read_json(path) | {"parent": "exp100", "changed": {"seed": [0, 1]}} | changes)


def test_a_child_is_compared_with_its_parent(trained):
    declare(trained, "exp101")
    row = rows_of("exp101")
    gain = (
        results.find_result("exp101").score("at_half", "auc").value
        - results.find_result("exp100").score("at_half", "auc").value
    )
    assert row["AUC against parent"].startswith(f"{gain:+.4f} [") and row["what"] == "exp100 but seed 1"


@pytest.mark.parametrize(
    "changes", [{"parent": "exp099"}, {"folds": {"count": 3, "sha256": "another", "file": "other"}}]
)
def test_there_is_no_comparison_with_a_parent_that_is_missing_or_of_other_folds(trained, changes):
    declare(trained, "exp101", **changes)
    assert rows_of("exp101")["AUC against parent"] == "-"


def test_an_ensemble_names_its_members(trained):
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    assert rows_of("both")["what"] == "mean of exp100 + exp101"


def test_the_command_shows_the_board_and_what_is_not_collected_yet(trained, capsys):
    trained.run(tiny_experiment(epochs=1), "--fold", "1", name="exp102")
    (trained.runs / "exp102" / "scores.json").unlink()
    capsys.readouterr()
    main.main(["board"])
    shown = capsys.readouterr().out
    assert "tiny (folds/tiny.csv" in shown and "3 folds): out-of-fold" in shown and shown.count("exp10") >= 3
    assert "not collected yet: exp102: fold1 finished (best epoch 1)" in shown


def test_an_empty_board_says_how_to_begin(project, capsys):
    main.main(["board"])
    assert "no finished result yet" in capsys.readouterr().out


# Publishing


def test_results_page_is_made_from_the_published_results_alone(trained):
    publish("exp100")
    before = page(trained)
    for folder in ("runs", "input", "folds"):
        shutil.rmtree(trained.root / folder)
    write_results_page()
    assert page(trained) == before
    assert "| exp100 |" in before and "exp101" not in before and "## tiny" in before
    assert "- exp100: `python exps/exp100.py`, 3 folds," in before


def test_a_published_result_can_be_blended_and_sent_without_its_run(trained):
    publish("exp100")
    shutil.rmtree(trained.runs / "exp100")
    main.main(["ensemble", "exp100", "exp101", "--name", "both"])
    main.main(["submit", "exp100", "--dry-run"])
    assert (trained.root / "submissions" / "001_exp100.csv").exists()


def test_publishing_twice_changes_nothing(trained):
    target = publish("exp100")
    first = {p.name: p.read_bytes() for p in target.iterdir()}
    before = page(trained)
    assert set(first) == FILES
    assert publish("exp100") == target
    assert {p.name: p.read_bytes() for p in target.iterdir()} == first and page(trained) == before


def test_another_result_of_the_same_name_is_refused_until_it_is_meant(trained):
    publish("exp100")
    shutil.rmtree(trained.runs / "exp100")
    trained.run(tiny_experiment(seed=2, epochs=1))
    with pytest.raises(InputError, match="holds another result of this name; add --overwrite to replace it"):
        publish("exp100")
    publish("exp100", overwrite=True)
    assert results.published_results()["exp100"].about["settings"]["seed"] == 2
    results.published_results()["exp100"].oof()


@pytest.mark.parametrize("left", [(), ("oof.parquet",), ("oof.parquet", "corrupted.parquet", "test.parquet")])
def test_a_publication_that_was_cut_off_is_completed(trained, left):
    whole = publish("exp100")
    for path in whole.iterdir():
        if path.name not in left:
            path.unlink()
    assert {p.name for p in publish("exp100").iterdir()} == FILES


def test_a_debug_run_is_not_published(project):
    project.run(tiny_experiment(), "--debug")
    with pytest.raises(InputError, match="exp100-debug is a debug run"):
        publish("exp100-debug")
    assert not (project.root / "RESULTS.md").exists()


def test_a_run_that_is_not_collected_is_not_published(project):
    project.run(tiny_experiment(epochs=1), "--fold", "0")
    (project.runs / "exp100" / "scores.json").unlink()
    with pytest.raises(InputError, match="holds no finished run; train all folds of exp100 first"):
        publish("exp100")


def test_a_run_with_folds_missing_is_published_as_such(project):
    project.run(tiny_experiment(epochs=1), "--fold", "0")
    publish("exp100")
    assert re.search(r"## tiny \(folds/tiny\.csv \w{8}, fold 0 of 3\)", page(project))
    assert "- exp100: `python exps/exp100.py --fold 0`, fold 0 of 3," in page(project)


@pytest.mark.parametrize(
    ("name", "changed", "trained", "typed"),
    [
        ("exp021", {"epochs": [10, 2]}, [0, 1, 2], "python exps/exp021.py"),
        ("exp034@phantom", {"data": ["phantom_marked", "phantom"]}, [0, 1, 2], "python exps/exp034.py --data phantom"),
        (
            "exp009-scratch@iq_othnccd",
            {"pretrained": [True, False], "data": ["luna16_patches", "iq_othnccd"], "randaugment": [None, [2, 9]]},
            [0, 2],
            "python exps/exp009.py --data iq_othnccd --tag scratch --pretrained false --randaugment 2 9 --fold 0 2",
        ),
    ],
)
def test_the_command_of_a_run_can_be_typed_again(name, changed, trained, typed):
    folds = {"count": 3, "trained": trained}
    assert command({"name": name, "changed": changed, "folds": folds}) == typed


def test_a_board_that_goes_into_another_program_has_every_column(trained, capsys):
    """The hint under a narrow board says so: `chestfold board | less -S`."""
    main.main(["board"])
    printed = capsys.readouterr().out
    assert all(name.split()[0] in printed for name in leaderboard.HEADER)
    assert "more columns" not in printed
