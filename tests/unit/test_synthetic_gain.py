"""What synthetic images gain: baselines are found by their settings and by nothing else, and compared in pairs."""

import pytest
from conftest import Project, enter
from drawn_results import rows_of, store
from tasks import drawn_labels, exclusive

from chestfold.cli import main
from chestfold.core.files import read_json, write_json
from chestfold.core.run_folder import SyntheticCount
from chestfold.evaluate import synthetic_gain
from chestfold.evaluate.results import all_results, find_result, write_result
from chestfold.report.page import write_report
from chestfold.report.publish import publish

COUNTS = [{"images": 8, "made_from": 4}, {"images": 8, "made_from": 4}, {"images": 8, "made_from": 6}]


def declare(project, **settings) -> None:
    """Let exp101 be a run with synthetic images whose other settings are those of exp100, but for `settings`."""
    path = project.runs / "exp101" / "scores.json"
    baseline = read_json(project.runs / "exp100" / "scores.json")["settings"]
    write_json(path, read_json(path) | {"settings": baseline | {"synthetic": "made"} | settings, "synthetic": COUNTS})


def cells(pair: synthetic_gain.Pair) -> dict[str, str]:
    return dict(zip(synthetic_gain.HEADER, synthetic_gain.cells(pair), strict=True))


def test_a_run_with_synthetic_images_is_compared_with_its_baseline(trained):
    declare(trained)
    (pair,) = synthetic_gain.pairs(all_results())
    row, (with_, without) = cells(pair), (pair.with_, pair.without)
    assert (with_.name, without.name) == ("exp101", "exp100")
    gained = with_.score("at_half", "auc").value - without.score("at_half", "auc").value
    assert pair.auc.value == pytest.approx(gained) and row["AUC gained"].startswith(f"{gained:+.4f} [")
    assert row["share"] == "100%" and row["synthetic"] == "8 from 4 to 6" and row["sampling"] == "natural / natural"
    assert row["recall with, tuned"] == str(with_.score("cross_fitted", "recall"))
    tuned = with_.score("cross_fitted", "recall").value - without.score("cross_fitted", "recall").value
    assert pair.tuned_recall.value == pytest.approx(tuned)


def test_recall_is_compared_at_the_same_specificity_and_not_at_a_half(trained):
    """Probabilities that are pushed below 0.5, in the same order, lose nothing."""
    declare(trained)
    result = find_result("exp101")
    table, provenance = result.oof()
    pushed = (table["ill"] * 0.3).to_numpy()
    timid = table.assign(ill=pushed, healthy=1 - pushed)
    provenance["experiment"] = "exp100"
    about = result.record.model_dump(exclude={"name", "scores", "files", "images", "patients", "against"})
    about |= {"settings": find_result("exp100").record.settings}
    write_result(trained.runs / "exp100", timid, None, None, provenance, about)
    (pair,) = synthetic_gain.pairs(all_results())
    assert pair.without.score("at_half", "recall").value == 0 < pair.with_.score("at_half", "recall").value
    assert (pair.recall.value, pair.auc.value) == (0, 0)


@pytest.mark.parametrize(
    ("settings", "found"),
    [({"sampling": "natural"}, 1), ({"epochs": 3}, 0), ({"positive_share": 0.1}, 0), ({"seed": 1}, 0)],
)
def test_only_a_run_with_the_same_settings_is_a_baseline(trained, settings, found):
    declare(trained, **settings)
    assert len(synthetic_gain.pairs(all_results())) == found


def test_over_sampling_is_the_other_baseline(trained):
    declare(trained)
    path = trained.runs / "exp100" / "scores.json"
    about = read_json(path)
    write_json(path, about | {"settings": about["settings"] | {"sampling": "over"}})
    assert [p.without.name for p in synthetic_gain.pairs(all_results())] == ["exp100"]
    write_json(path, about | {"settings": about["settings"] | {"sampling": "under"}})
    assert not synthetic_gain.pairs(all_results())


def test_a_result_without_counts_says_that_they_are_not_recorded(trained):
    declare(trained)
    path = trained.runs / "exp101" / "scores.json"
    write_json(path, {key: value for key, value in read_json(path).items() if key != "synthetic"})
    (pair,) = synthetic_gain.pairs(all_results())
    assert cells(pair)["synthetic"] == "not recorded"


def test_pairs_are_in_the_order_of_their_share_sampling_and_name(tmp_path, monkeypatch):
    project = Project(tmp_path)
    enter(monkeypatch, project)
    rows = rows_of(exclusive(), drawn_labels(exclusive(), 24))

    def write(name: str, share: float, synthetic: str = "", sampling: str = "natural") -> None:
        settings = {"positive_share": share, "synthetic": synthetic, "sampling": sampling}
        counts = [SyntheticCount(images=8, made_from=4)] * 3 if synthetic else []
        store(project, name, exclusive(), rows, settings=settings, synthetic=counts)

    for share in (0.5, 0.1):
        write(f"bare{share}", share)
        write(f"over{share}", share, sampling="over")
    for name, share in (("b", 0.5), ("a", 0.5), ("c", 0.1), ("d-debug", 0.1)):
        write(name, share, "made")
    found = [(pair.with_.name, pair.without.name) for pair in synthetic_gain.pairs(all_results())]
    assert found[:2] == [("c", "bare0.1"), ("c", "over0.1")]
    assert found[2:] == [("a", "bare0.5"), ("b", "bare0.5"), ("a", "over0.5"), ("b", "over0.5")]
    assert synthetic_gain.cells(synthetic_gain.pairs(all_results())[0])[-1] == "8 from 4"


def test_a_baseline_of_both_kinds_is_named_once(trained):
    path = trained.runs / "exp100" / "scores.json"
    about = read_json(path)
    write_json(path, about | {"settings": about["settings"] | {"sampling": "over"}})
    declare(trained)  # over-sampled too
    assert [(p.with_.name, p.without.name) for p in synthetic_gain.pairs(all_results())] == [("exp101", "exp100")]


def test_a_run_on_fewer_folds_is_no_baseline(trained):
    declare(trained)
    path = trained.runs / "exp100" / "scores.json"
    about = read_json(path)
    write_json(path, about | {"folds": about["folds"] | {"trained": [0, 1]}})
    assert not synthetic_gain.pairs(all_results())


def test_the_table_is_in_the_terminal_on_the_page_and_among_the_published_results(trained, capsys):
    main.main(["board", "--table", "synthetic"])
    assert "no result with synthetic images beside one without" in capsys.readouterr().out
    for name in ("exp100", "exp101"):
        declare(trained)
        publish(name)
    assert f"# {synthetic_gain.TITLE}" in (trained.root / "RESULTS.md").read_text()
    main.main(["board", "--table", "synthetic"])
    assert "exp101" in capsys.readouterr().out
    write_report(trained.runs / "report.html")
    assert synthetic_gain.TITLE in (trained.runs / "report.html").read_text()
