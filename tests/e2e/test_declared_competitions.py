"""Three competitions that no code was written for, in the layouts that they were published in, to a checked submission.

Their images are drawn here. Each is declared in a dataset.toml beside its own files, which nobody has moved or renamed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import Project, draw_image, enter, tiny_experiment
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.evaluate.results import find_result

PATIENTS = 8
SPLITS = {"train": 24, "test": 6}
LABELS = ("Cardiomegaly", "Pleural Effusion", "Edema")


def is_ill(n: int) -> bool:
    return n % 2 == 1


def write_tif(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


def write_dicom(path: Path, image: np.ndarray) -> None:
    """An X-ray of 8 bits without a window, as that competition's are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    header.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3")
    header.SOPClassUID, header.SOPInstanceUID, header.Modality = SecondaryCaptureImageStorage, "1.2.3", "CR"
    header.Rows, header.Columns = image.shape
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 8, 8, 7, 0
    header.PixelData = image.tobytes()
    header["PixelData"].VR = "OB"
    dcmwrite(path, header, enforce_file_format=True)


def draw(folder: Path, place: str, write: Callable[[Path, np.ndarray], None], ids: dict[str, list[str]]) -> None:
    """The images of both splits; every second one has the disc."""
    for split, names in ids.items():
        rng = generator("declared", split)
        for n, name in enumerate(names):
            write(folder / place.format(split=split, id=name), draw_image(rng, is_ill(n)))


def names_of(pattern: str) -> dict[str, list[str]]:
    return {split: [pattern.format(split[:2], n) for n in range(count)] for split, count in SPLITS.items()}


def write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def histology(folder: Path) -> None:
    """train_labels.csv, train/ID.tif, test/ID.tif, and a sample whose only column has the name of the label."""
    ids = names_of("{}c0{:04d}de")
    draw(folder, "{split}/{id}.tif", write_tif, ids)
    write_lines(folder / "train_labels.csv", ["id,label", *(f"{i},{n % 2}" for n, i in enumerate(ids["train"]))])
    write_lines(folder / "sample_submission.csv", ["id,label", *(f"{i},0" for i in ids["test"])])
    write_lines(
        folder / "dataset.toml",
        [
            'reader = "csv"',
            'table = "train_labels.csv"',
            'images = "train/{id}.tif"',
            'test_images = "test/{id}.tif"',
            'classes = ["normal", "tumour"]',
            'positive = "tumour"',
            'labels = { "0" = "normal", "1" = "tumour" }',
        ],
    )


def catheters(folder: Path) -> None:
    """One-hot columns with -1 and blanks, several images a patient, a folder for each study, suffixes in the ids."""
    ids: dict[str, list[str]] = {"train": [], "test": []}
    rows = ["Path,Sex,Cardiomegaly,Pleural Effusion,Edema,PatientID"]
    for split, count in SPLITS.items():
        for n in range(count):
            ids[split].append(f"patient{n % PATIENTS:03d}/{split}_study/view{n}.png")
    for n, image_id in enumerate(ids["train"]):
        effusion = "-1.0" if n % 12 == 5 else float(n % 4 == 1)
        edema = "" if n % 12 == 7 else float(n % 3 == 0)
        rows.append(f"{image_id},F,{float(is_ill(n))},{effusion},{edema},{n % PATIENTS}")
    draw(folder, "images/{split}/{id}", write_tif, ids)
    write_lines(folder / "train.csv", rows)
    sample = ["Path," + ",".join(LABELS), *(f"{i},0,0,0" for i in ids["test"])]
    write_lines(folder / "sample_submission.csv", sample)
    write_lines(
        folder / "dataset.toml",
        [
            'reader = "csv"',
            'task = "multilabel"',
            'id = "Path"',
            f"labels = {list(LABELS)}".replace("'", '"'),
            'unknown = ["-1", ""]',
            'group = "PatientID"',
            'images = "images/train/{id}"',
            'test_images = "images/test/{id}"',
            'metric = "macro_auc"',
            'warning = "drawn images: their scores mean nothing"',
        ],
    )


def boxes(folder: Path) -> None:
    """A row for each box, so that some images have several; DICOM files; the answer is a class at a threshold."""
    ids = names_of("{}-77d0aa10-{:02d}")
    draw(folder, "stage_2_{split}_images/{id}.dcm", write_dicom, ids)
    rows = ["patientId,x,y,width,height,Target"]
    for n, image_id in enumerate(ids["train"]):
        rows += [f"{image_id},{x}.0,120.0,200.0,300.0,1" for x in (100, 500)] if is_ill(n) else [f"{image_id},,,,,0"]
    write_lines(folder / "stage_2_train_labels.csv", rows)
    write_lines(folder / "stage_2_sample_submission.csv", ["patientId,Target", *(f"{i},0" for i in ids["test"])])
    write_lines(
        folder / "dataset.toml",
        [
            'reader = "csv"',
            'table = "stage_2_train_labels.csv"',
            'id = "patientId"',
            'label = "Target"',
            'classes = ["normal", "opacity"]',
            'positive = "opacity"',
            'labels = { "0" = "normal", "1" = "opacity" }',
            'images = "stage_2_train_images/{id}.dcm"',
            'test_images = "stage_2_test_images/{id}.dcm"',
            'metric = "balanced_accuracy"',
            "[submission]",
            'file = "stage_2_sample_submission.csv"',
            'answer = "class"',
        ],
    )


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    for name in ("input", "folds", "exps/results"):
        (tmp_path / name).mkdir(parents=True)
    made = Project(tmp_path)
    enter(monkeypatch, made)
    return made


def submitted(project: Project, write: Callable[[Path], None]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The submission of a competition after two folds, and its sample."""
    folder = project.input / "contest"
    folder.mkdir()
    write(folder)
    main.main(["folds", "make", "contest", "--folds", "2"])
    project.run(tiny_experiment(data="contest", epochs=12, batch_size=4), name="exp100")
    main.main(["submit", "exp100", "--dry-run"])
    sample = next(folder.glob("*sample_submission.csv"))
    return pd.read_csv(project.root / "submissions" / "001_exp100.csv"), pd.read_csv(sample)


def test_a_label_column_of_any_name_is_answered_by_the_positive_class(empty):
    sent, sample = submitted(empty, histology)
    assert sent["id"].tolist() == sample["id"].tolist() and list(sent) == ["id", "label"]
    table, _ = find_result("exp100").test()
    expected = table.set_index("id").loc[sent["id"], "tumour"].to_numpy()
    np.testing.assert_allclose(sent["label"], expected, atol=1e-6)


def test_several_labels_with_unknown_ones_have_a_column_each(empty):
    sent, sample = submitted(empty, catheters)
    assert sent["Path"].tolist() == sample["Path"].tolist() and list(sent) == ["Path", *LABELS]
    record = find_result("exp100").record
    assert record.task == "multilabel" and record.warning == "drawn images: their scores mean nothing"
    assert record.scores.by_label is not None and set(record.scores.by_label) == set(LABELS)
    stored = pd.read_parquet(empty.runs / "exp100" / "oof.parquet")
    assert stored["true:Pleural Effusion"].isna().sum() == 2, "-1.0 is -1, and says that nobody knows"
    assert stored["true:Edema"].isna().sum() == 2, "a blank cell says so too"
    counts = record.scores.confusion[LABELS.index("Pleural Effusion")]
    assert sum(counts) == SPLITS["train"] - 2, "what is not known is not scored"
    assert stored.groupby("group")["fold"].nunique().max() == 1 and stored["group"].nunique() == PATIENTS


def test_rows_of_boxes_are_one_image_and_a_class_is_answered_at_the_threshold(empty):
    sent, sample = submitted(empty, boxes)
    assert sent["patientId"].tolist() == sample["patientId"].tolist()
    result = find_result("exp100")
    assert len(result.oof()[0]) == SPLITS["train"]
    threshold = result.record.scores.threshold
    probs = result.test()[0].set_index("id").loc[sent["patientId"], "opacity"].to_numpy()
    assert sent["Target"].tolist() == (probs >= threshold).astype(int).tolist()
    assert result.record.metric == "balanced_accuracy" and "balanced_accuracy" in result.record.scores.at_half
    assert result.record.settings["monitor"] == "balanced_accuracy"


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        ("macro_aucc", "unknown metric 'macro_aucc'; did you mean macro_auc?"),
        ("quadratic_kappa", "not for a multilabel"),
    ],
)
def test_a_metric_that_there_is_not_is_refused_with_the_line_that_declares_it(empty, capsys, metric, complaint):
    folder = empty.input / "contest"
    folder.mkdir()
    catheters(folder)
    declaration = folder / "dataset.toml"
    declaration.write_text(declaration.read_text().replace('metric = "macro_auc"', f'metric = "{metric}"'))
    line = declaration.read_text().splitlines().index(f'metric = "{metric}"') + 1
    main.main(["folds", "make", "contest", "--folds", "2"])
    with pytest.raises(SystemExit):
        main.main(["data", "check", "contest"])
    said = capsys.readouterr().err
    assert f"dataset.toml, line {line}: " in said and complaint in said
    with pytest.raises(InputError, match=rf"dataset\.toml, line {line}: "):
        empty.run(tiny_experiment(data="contest"), name="exp100")
