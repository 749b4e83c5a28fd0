"""`synth blend` from end to end, on small patches and on phantom slices."""

import shutil
import sys
import types
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import Project, enter, make_project
from small_patches import lung, to_grey, with_disc, write_patches

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json
from chestfold.core.rng import generator
from chestfold.data import folds
from chestfold.data.catalogue import open_index
from chestfold.data.phantom import write_phantom
from chestfold.synth.blend import hosts
from chestfold.synth.blend.dataset import COLUMNS, BlendRequest, blend, scale_of
from chestfold.synth.blend.donors import window_of
from chestfold.synth.blend.segment import Unfit
from chestfold.synth.study.blended_set import open_blended_set

REQUEST = BlendRequest("made", "patches", "patches", count=10)


@pytest.fixture
def patches(project):
    write_patches(project.input / "patches")
    return project


@pytest.fixture(scope="module")
def both_once(tmp_path_factory):
    made = make_project(tmp_path_factory.mktemp("both") / "project")
    write_patches(made.input / "patches")
    write_phantom(made.input / "phantom", patients=8, slices=3)
    with pytest.MonkeyPatch.context() as patch:
        enter(patch, made)
        folds.make(open_index("phantom"), "phantom", 2)
        folds.make(open_index("patches"), "patches", 3)
    return made


@pytest.fixture
def both(both_once, tmp_path, monkeypatch):
    """Patches, and 24 slices of the phantom."""
    copy = Project(tmp_path / "project")
    shutil.copytree(both_once.root, copy.root)
    enter(monkeypatch, copy)
    return copy


def table(project) -> pd.DataFrame:
    return pd.read_csv(project.input / "made" / "train.csv", dtype=str, keep_default_na=False)


def test_the_set_is_read_by_the_catalogue(patches):
    blend(REQUEST)
    index = open_index("made")
    assert index.dataset.classes == ("lung", "nodule") and index.dataset.view == "patch"
    assert index.dataset.hu_window == (-1000, 400)
    assert index.train["label"].value_counts().to_dict() == {"lung": 10, "nodule": 10}
    assert list(table(patches).columns) == COLUMNS
    assert folds.make(index, "made", 3)[0].count == 3


def test_nodule_and_host_are_of_one_patient_and_the_lineage_says_so(patches):
    blend(REQUEST)
    patients = open_index("patches").train.set_index("id")
    made = table(patches)
    nodules = made[made["label"] == "nodule"]
    for row in nodules.itertuples():
        assert patients["group"][row.parents] == patients["group"][row.host] == row.group
        assert patients["label"][row.parents] == "nodule" and patients["label"][row.host] == "lung"
        assert len(row.box.split()) == 4 and float(row.seam_after) <= float(row.seam_before)
    assert nodules["parents"].is_unique
    healthy = made[made["label"] == "lung"]
    assert set(healthy["host"]) & set(nodules["host"]) == set() and (healthy["parents"] == "").all()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_makes_the_same_bytes_and_another_one_others(patches):
    """All but the declaration and synth.json, which hold the name."""
    made = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        blend(replace(REQUEST, name=name, seed=seed))
        files = contents(patches.input / name)
        made.append({k: v for k, v in files.items() if k not in ("synth.json", "dataset.toml")})
    assert made[0] == made[1] != made[2]


def test_the_fold_keeps_its_images_out(both):
    chosen = folds.load("patches", open_index("patches"))
    blend(replace(REQUEST, fold=1, count=16))
    kept, made = set(chosen.other_ids(1)), table(both)
    real = pd.read_csv(both.input / "made" / "real.csv", dtype=str)
    assert set(made["host"]) | set(made["parents"]) - {""} <= kept and set(real["real"]) <= kept
    assert set(made["fold"]) == {"1"}


def test_slices_get_their_nodule_in_the_lung_and_families_stay_together(both):
    blend(replace(REQUEST, hosts="phantom", count=8))
    made, patient_of = table(both), open_index("patches").train.set_index("id")["group"]
    nodules = made[made["label"] == "nodule"]
    for row in nodules.itertuples():
        masks = [cv2.imread(str(both.input / "made/masks" / kind / f"{row.id}.png"), 0) for kind in ("nodule", "lung")]
        assert masks[0].any() and not masks[0][masks[1] == 0].any()
    assert nodules.groupby(nodules["parents"].map(patient_of))["group"].nunique().max() == 1
    assert open_blended_set("made").real["box"].ne("").all(), "the phantom says where its nodules are"


class Fixed:
    """A generator of discs, as `synth train` leaves one."""

    sha256, data, fold, parents = "f" * 64, "patches", 1, ["q000", "q002"]

    def draw(self, count, seed):
        rng = generator("fixed", seed)
        grey = [to_grey(with_disc(lung(rng, 64), rng.uniform(4, 8))) for _ in range(count)]
        return np.stack(grey)


@pytest.fixture
def trained_generator(both, monkeypatch):
    module = types.ModuleType("chestfold.synth.gan.generator")
    module.load_generator = lambda folder: Fixed()
    monkeypatch.setitem(sys.modules, "chestfold.synth.gan.generator", module)
    (both.root / "generator").mkdir()
    return both


def test_a_generators_nodules_name_all_that_it_has_seen(trained_generator):
    folder = str(trained_generator.root / "generator")
    blend(replace(REQUEST, nodules=folder, fold=1))
    made = table(trained_generator)
    nodules = made[made["label"] == "nodule"]
    assert set(nodules["parents"]) == {"q000;q002"} and set(nodules["generator"]) == {Fixed.sha256}
    boxes = np.array([box.split() for box in nodules["box"]], int)
    width = boxes[:, 2] - boxes[:, 0]
    assert width.mean() == pytest.approx(2 * 6 * 40 / 64, rel=0.25), "drawn at 64 px, put back to the patches' 40"


def test_a_generator_of_another_fold_is_refused(trained_generator):
    folder = str(trained_generator.root / "generator")
    with pytest.raises(InputError, match="trained for fold 1, not for --fold 0"):
        blend(replace(REQUEST, nodules=folder, fold=0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "tiny"}, "exists; remove it or choose another NAME"),
        ({"name": "../made"}, "a plain name is needed"),
        ({"name": "iq_othnccd"}, "name of a data set of the catalogue"),
        ({"count": 0}, "--count 0: at least 1"),
        ({"count": 90000}, "only .* of 90000 could be made|ask for fewer"),
        ({"hosts": "nowhere"}, "unknown data set 'nowhere'"),
        ({"hosts": "tiny"}, "declared as view ''"),
        ({"hosts": "phantom", "host_class": "nodule"}, "--host-class nodule: hosts are healthy images"),
        ({"nodules": "phantom"}, "phantom is no set of patches"),
        ({"nodules": "nobody"}, "unknown data set 'nobody'"),
        ({"nodules": "runs/synth/nobody/fold0"}, "no such folder; train a generator"),
        ({"fold": 7}, "fold 7 does not exist"),
        ({"host_mm": 1.0}, "need each other"),
        ({"host_mm": 1.0, "nodule_mm": 0.0}, "above 0"),
        ({"host_window": (240, -160)}, "black is below white"),
        ({"hosts": "phantom", "host_window": (-160, 240)}, r"is not in the window -160 to 240"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(both, changes, said):
    before = sorted(both.input.iterdir())
    with pytest.raises(InputError, match=said) as complaint:
        blend(replace(REQUEST, **changes)) if changes.get("count") != 90000 else blend_with_no_more_hosts(changes)
    assert "\n" not in str(complaint.value) and sorted(both.input.iterdir()) == before


def blend_with_no_more_hosts(changes):
    """A set whose patches have no lung around the middle: every host is refused."""

    def refuse(self, grey, patch):
        raise Unfit("has a wall or a vessel where the seam would be")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts.Hosts, "_middle", refuse)
        blend(replace(REQUEST, **changes))


def test_hosts_without_lungs_are_one_sentence(both, monkeypatch):
    monkeypatch.setattr(hosts, "segment_lungs", lambda grey: None)
    with pytest.raises(InputError, match="only 0 of 10 could be made .*host shows no lungs"):
        blend(replace(REQUEST, hosts="phantom"))


def test_unknown_windows_are_asked_for(patches):
    text = (patches.input / "patches" / "dataset.toml").read_text()
    (patches.input / "patches" / "dataset.toml").write_text(text.replace("hu_window", "# hu_window"))
    with pytest.raises(InputError, match="patches declares no hu_window.*--host-window LOW HIGH"):
        blend(REQUEST)


def test_millimetres_decide_where_they_are_known(patches):
    patch = open_index("patches").dataset
    coarse = patch.model_copy(update={"name": "coarse", "pixel_mm": 1.4})
    assert scale_of(REQUEST, patch, patch).factor == 1
    assert "not known" in scale_of(REQUEST, patch, coarse).words
    assert scale_of(replace(REQUEST, nodule_mm=0.7), patch, coarse).factor == pytest.approx(0.5)


def test_the_command_says_what_it_made_and_what_it_left_out(patches, capsys):
    main.main(["synth", "blend", "made", "--nodules", "patches", "--hosts", "patches", "--count", "6"])
    said = capsys.readouterr().out
    assert "6 blended, 6 untouched, 6 real to compare with" in said and "seam's visibility, median" in said
    about = read_json(patches.input / "made" / "synth.json")
    assert about["hosts"]["class"] == "lung" and about["seam"]["after"] <= about["seam"]["before"]
    sheet = cv2.imread(str(patches.input / "made" / "before_after.png"))
    assert sheet.shape[0] > 500 and sheet.std() > 20


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("hu_window = [400, -1000]", "hu_window is two whole numbers, black below white"),
        ("hu_window = [-1000]", "hu_window is two whole numbers"),
        ("pixel_mm = 0", "pixel_mm is a number above 0"),
        ('pixel_mm = "0.7"', "pixel_mm is a number above 0"),
    ],
)
def test_an_odd_window_or_pixel_size_is_refused(patches, line, said):
    path = patches.input / "patches" / "dataset.toml"
    path.write_text(path.read_text().replace("hu_window = [-1000, 400]", line))
    with pytest.raises(InputError, match=said):
        open_index("patches")


def test_pixels_may_be_a_fraction_of_a_millimetre(patches):
    path = patches.input / "patches" / "dataset.toml"
    path.write_text(path.read_text().replace("hu_window = [-1000, 400]", "pixel_mm = 0.7"))
    assert open_index("patches").dataset.pixel_mm == 0.7


def test_a_set_of_dicom_files_has_its_window_by_name(patches):
    named = open_index("patches").dataset.model_copy(update={"hu_window": None, "ct_window": "mediastinum"})
    assert window_of(named) == (-160, 240) and window_of(named, (-1000, 0)) == (-1000, 0)
