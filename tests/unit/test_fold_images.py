"""The images of a fold: those trained on are the ones that are counted, and that out-of-distribution is measured by."""

import numpy as np
import pytest
from conftest import Project, enter, make_tiny_folds, tiny_experiment, write_tiny

from chestfold.core.config import Request, debug_settings
from chestfold.core.errors import InputError
from chestfold.core.run_folder import FoldFolder
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.loader import Images
from chestfold.evaluate import predictions
from chestfold.models import ood
from chestfold.train import loop
from chestfold.train.prepare import DEBUG_IMAGES, FoldImages, Prepared, prepare


def ready(name: str = "exp100", **settings) -> Prepared:
    exp = tiny_experiment(**settings)
    return prepare(Request(name, debug_settings(exp) if name.endswith("-debug") else exp))


@pytest.fixture
def watched(monkeypatch) -> dict[str, Images]:
    """What a fold is trained on, and what its out-of-distribution detector is fitted to."""
    seen: dict[str, Images] = {}
    train, fit = loop.fit, ood.fit

    def watched_train(exp, fold, images, *rest):
        seen["trained"] = images
        return train(exp, fold, images, *rest)

    def watched_fit(runner, images, val, *rest):
        seen["detector"], seen["threshold"] = images, val
        return fit(runner, images, val, *rest)

    monkeypatch.setattr(loop, "fit", watched_train)
    monkeypatch.setattr(ood, "fit", watched_fit)
    return seen


SHARES = [{}, {"positive_share": 0.3}, {"train_per_class": 5}, {"positive_share": 0.5, "train_per_class": 4}]


@pytest.mark.parametrize("settings", SHARES, ids=str)
def test_the_detector_is_fitted_to_the_images_that_were_trained_on(project, monkeypatch, watched, settings):
    project.run(tiny_experiment(epochs=1, max_steps=2, **settings), "--fold", "0")
    assert sorted(watched["detector"].ids) == sorted(watched["trained"].ids)
    validated, _ = predictions.read(project.runs / "exp100" / "fold0" / "oof.parquet")
    assert sorted(watched["threshold"].ids) == sorted(validated["id"])
    log = (project.runs / "exp100" / "fold0" / "log.txt").read_text()
    assert log.startswith(f"exp100 fold 0: {len(watched['trained'])} training, {len(validated)} validation and 12 test")


@pytest.mark.parametrize("settings", SHARES, ids=str)
def test_the_manifest_counts_missing_lungs_among_the_images_that_were_trained_on(
    project, monkeypatch, watched, settings
):
    """`tiny` is declared to show axial slices; none of its images has lungs."""
    with (project.input / "tiny" / "dataset.toml").open("a") as file:
        file.write('view = "axial"\n')
    exp = tiny_experiment(epochs=1, max_steps=2, image_size=48, lung_mask="zero", **settings)
    project.run(exp, "--fold", "0")
    folder = FoldFolder(project.runs / "exp100" / "fold0")
    table, _ = predictions.read(folder.table_path("oof"))
    count = len(watched["trained"])
    assert folder.manifest().lungs_not_found == {"training": count, "validation": len(table), "test": 12}
    assert f"no lungs were found in {count} of {count} training images" in (folder.path / "log.txt").read_text()


def test_a_share_is_drawn_once_a_fold_and_a_smaller_one_is_a_part_of_a_larger(project):
    def positives(fold: int, share: float) -> set[str]:
        train = ready(positive_share=share).fold_images(fold).train
        return {train.ids[n] for n in np.flatnonzero(train.labels == 1)}

    assert positives(0, 0.2) == positives(0, 0.2)
    assert positives(0, 0.2) < positives(0, 0.6) < positives(0, 1.0)
    assert positives(0, 0.6) != positives(1, 0.6)


def test_the_three_parts_of_a_fold_share_no_image(project):
    of_fold = ready().fold_images(1)
    train, val, test = (set(part.ids) for part in (of_fold.train, of_fold.val, of_fold.test))
    assert not train & val and not train & test and not val & test
    table = folds.load("tiny", open_index("tiny"))
    assert val == set(table.ids(1)) and train == set(table.other_ids(1)) and len(test) == 12


def test_more_of_each_class_than_a_share_has_left_is_refused(project):
    with pytest.raises(InputError, match=r"train_per_class = 15, but a class has \d+ training images; lower it"):
        ready(positive_share=0.3, train_per_class=15).fold_images(0)


# A debug run


@pytest.fixture(scope="module")
def _large(tmp_path_factory) -> Project:
    """240 training images in three folds and 80 test images: more than a debug run predicts."""
    made = Project(tmp_path_factory.mktemp("large") / "project")
    for name in ("input", "folds", "exps/results"):
        (made.root / name).mkdir(parents=True)
    write_tiny(made.input / "tiny", patients=80, tests=80)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        make_tiny_folds()
    return made


@pytest.fixture
def large(_large, monkeypatch) -> Project:
    enter(monkeypatch, _large)
    return _large


def sizes(of_fold: FoldImages) -> tuple[int, int]:
    """Of the two parts that are predicted."""
    return len(of_fold.val), len(of_fold.test)


def test_a_debug_run_predicts_at_most_64_images_of_each_part(large):
    every = ready()
    assert min(min(sizes(every.fold_images(fold))) for fold in range(3)) > DEBUG_IMAGES == 64
    debug = ready("exp100-debug")
    for fold in range(3):
        assert sizes(debug.fold_images(fold)) == (64, 64)


def test_a_debug_run_has_as_many_images_of_each_class_in_every_fold(large):
    for fold in range(3):
        labels = ready("exp100-debug").fold_images(fold).val.labels
        assert np.bincount(labels).tolist() == [32, 32]


def test_the_images_of_a_debug_run_are_the_same_every_time_and_keep_their_fold(large):
    first, again = ready("exp100-debug"), ready("exp100-debug")
    assert first.folds.table.equals(again.folds.table)
    of_file = ready().folds.table.set_index("id")["fold"]
    assert (first.folds.table["fold"].to_numpy() == of_file[first.folds.table["id"]].to_numpy()).all()
    assert first.folds.sha256 == ready().folds.sha256


def test_a_debug_run_writes_its_sample_and_is_collected(large, monkeypatch):
    large.run(tiny_experiment(), "--debug", "--fold", "0")
    folder = FoldFolder(large.runs / "exp100-debug" / "fold0")
    assert len(predictions.read(folder.table_path("oof"))[0]) == 64
    assert len(predictions.read(folder.table_path("corrupted"))[0]) == 8 * 64
    assert len(predictions.read(folder.table_path("test"))[0]) == 64
    assert len(predictions.read(folder.path.parent / "oof.parquet")[0]) == 64
