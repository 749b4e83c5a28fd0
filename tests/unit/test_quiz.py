"""`chestfold quiz`: which images are drawn, what a model says of them, and what is refused."""

import json
import re

import cv2
import numpy as np
import pytest
from conftest import draw_image
from drawn_results import rows_of, store
from tasks import drawn_labels, exclusive, graded, labelled

from chestfold.cli import main
from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json
from chestfold.core.rng import generator
from chestfold.data.catalogue import open_index
from chestfold.synth.study.class_quiz import class_quiz
from chestfold.synth.study.quiz import LARGEST_SIDE, Question, Quiz, outline, page, shrunk

HOSTILE = ("</script><script>alert(1)</script>", '\u2028 {b} & "q" =1+1')


def tiny_rows(folds: int = 3):
    rows = open_index("tiny").train.assign(fold=0)
    return rows.assign(fold=rows["group"].map(lambda group: int(group[1:]) % folds))


def declare(project, task, labels, name: str = "drawn") -> None:
    """A data set of any task in input/, with an image for each label."""
    folder = project.input / name
    (folder / "images").mkdir(parents=True)
    lines = [f"task = {json.dumps(task.name)}", f"classes = {json.dumps(list(task.classes))}", 'reader = "csv"']
    lines += ['group = "patient"'] + ([f"positive = {json.dumps(task.positive)}"] if task.sums_to_one else [])
    if not task.sums_to_one:
        lines += ['separator = "|"', 'no_finding = ["-"]']
    (folder / "dataset.toml").write_text("\n".join(lines) + "\n")
    rows = rows_of(task, labels)
    cells = rows["label"].map(lambda text: text.replace("?", ""))
    rng = generator("quiz images")
    for image_id in rows["id"]:
        cv2.imwrite(str(folder / "images" / f"{image_id}.png"), draw_image(rng, False))
    rows.assign(label=cells, patient=rows["group"])[["id", "label", "patient"]].to_csv(
        folder / "train.csv", index=False
    )


def test_each_image_is_of_another_patient_and_the_choice_is_seeded(project):
    index = open_index("tiny").table.set_index("id")
    drawn = [class_quiz("tiny", [], 12, seed) for seed in (0, 0, 1)]
    ids = [[question.id for question in quiz.questions] for quiz in drawn]
    assert ids[0] == ids[1] != ids[2]
    for quiz, names in zip(drawn, ids, strict=True):
        assert len(set(index.loc[names, "group"])) == 12
        assert [question.truth for question in quiz.questions] == index.loc[names, "label"].tolist()
        assert [question.truth for question in quiz.questions].count("ill") == 6
    assert drawn[0].classes == ("healthy", "ill"), "the positive class is looked for"


@pytest.mark.parametrize(
    "task", [exclusive(3), exclusive(4), graded(4), labelled()], ids=lambda t: f"{t.name}{len(t.classes)}"
)
def test_any_two_classes_or_a_label_of_every_task(project, task):
    labels = drawn_labels(task, 96)
    if not task.sums_to_one:
        labels = np.nan_to_num(labels)
    declare(project, task, labels)
    rows = open_index("drawn").train.assign(fold=0)
    store(project, "reader", task, rows, trained=(0,), data="drawn")
    chosen = [task.classes[2], task.classes[0]] if task.sums_to_one else [task.classes[1]]
    quiz = class_quiz("drawn", chosen, 8, 0, run="reader")
    assert quiz.classes == (tuple(chosen) if task.sums_to_one else (f"no {chosen[0]}", chosen[0]))
    truth = open_index("drawn").table.set_index("id")["label"]
    for question in quiz.questions:
        has = chosen[-1] in truth[question.id].split("|")
        assert has == (question.truth == quiz.classes[1])


def test_the_model_answers_by_its_out_of_fold_probability_of_the_two(project):
    task = exclusive(3)
    labels = drawn_labels(task, 60)
    declare(project, task, labels)
    rows = open_index("drawn").train.assign(fold=0)
    oof = store(project, "reader", task, rows, trained=(0,), data="drawn").oof()[0].set_index("id")
    for question in class_quiz("drawn", ["dying", "ill"], 8, 0, run="reader").questions:
        both = oof.loc[question.id, "dying"] + oof.loc[question.id, "ill"]
        assert question.model == pytest.approx(oof.loc[question.id, "ill"] / both)


def test_only_images_of_trained_folds_are_drawn_beside_a_run(project):
    store(project, "reader", exclusive(), tiny_rows(), trained=(1,))
    fold_of = tiny_rows().set_index("id")["fold"]
    questions = class_quiz("tiny", [], 6, 0, run="reader").questions
    assert {fold_of[question.id] for question in questions} == {1}
    with pytest.raises(InputError, match=r"tiny with predictions of reader: of healthy and ill 3 .*--count 6"):
        class_quiz("tiny", [], 8, 0, run="reader")


def test_a_patient_with_images_of_both_classes_is_shown_once(project):
    (project.input / "tiny" / "train.csv").write_text(
        "id,label,patient\n" + "".join(f"t{n:03d},{'ill' if n % 2 else 'healthy'},p{n // 2}\n" for n in range(24))
    )
    index = open_index("tiny").table.set_index("id")
    for seed in range(5):
        groups = index.loc[[question.id for question in class_quiz("tiny", [], 12, seed).questions], "group"]
        assert len(set(groups)) == 12
    with pytest.raises(InputError, match="--count 10"):
        class_quiz("tiny", [], 14, 0)


def test_an_outline_is_that_of_the_lesion_s_mask_and_an_image_without_one_has_none(project):
    folder = project.input / "tiny" / "masks" / "nodule"
    folder.mkdir(parents=True)
    mask = np.zeros((64, 64), np.uint8)
    mask[20:30, 10:40] = 255
    for n in range(60):
        if n % 6 >= 3:
            cv2.imwrite(str(folder / f"t{n:03d}.png"), mask)
    for question in class_quiz("tiny", [], 12, 0).questions:
        assert (question.mask is not None) == (question.truth == "ill")
        if question.mask is not None:
            assert question.mask.shape == question.image.shape == (32, 32) and question.mask.sum() == 5 * 15


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "unknown data set 'nowhere'"),
        (["../tiny"], "unknown data set"),
        (["tiny", "--count", "7"], "--count 7: an even number"),
        (["tiny", "--count", "0"], "--count 0: an even number"),
        (
            ["tiny", "--count", "200"],
            "tiny: of healthy and ill 10 images each can be drawn, no two of one patient; ask for --count 20",
        ),
        (["tiny", "--classes", "il", "healthy"], "did you mean ill"),
        (["tiny", "--classes", "ill"], "name two different classes"),
        (["tiny", "--classes", "ill", "ill"], "name two different classes"),
        (["tiny", "--run", "nobody"], "no finished result called 'nobody'"),
        (["tiny", "--count", "4", "--run", "other"], "--run other is a result on drawn"),
        (["tiny", "--count", "4", "--run", "new-debug"], "new-debug is a debug run"),
        (["tiny", "--count", "4", "--run", "renamed"], "the label of 't000' was another"),
    ],
)
def test_bad_input_is_one_sentence(project, capsys, words, said):
    rows = tiny_rows()
    other = rows.assign(id=[f"o{n}" for n in range(len(rows))])
    store(project, "other", exclusive(), other, data="drawn")
    store(project, "new-debug", exclusive(), rows)
    store(project, "renamed", exclusive(), rows.assign(label=["ill", *rows["label"][1:]]))
    with pytest.raises(SystemExit) as stop:
        main.main(["quiz", *words, "--out", str(project.root / "no.html")])
    complaint = capsys.readouterr().err
    assert stop.value.code == 2 and said in complaint and complaint.count("\n") == 1
    assert not (project.root / "no.html").exists()


def test_a_changed_result_is_refused(project):
    store(project, "reader", exclusive(), tiny_rows())
    path = project.runs / "reader" / "scores.json"
    record = read_json(path)
    write_json(path, record | {"files": record["files"] | {"oof.parquet": "0" * 64}})
    with pytest.raises(InputError, match="hash differs"):
        class_quiz("tiny", [], 4, 0, run="reader")


def test_names_that_would_be_markup_remain_texts(project):
    image = np.zeros((8, 8), np.uint8)
    questions = [Question(f"{name}{n}", name, image) for n in range(2) for name in HOSTILE]
    text = page(Quiz(HOSTILE[0], "classes", HOSTILE, questions, model=HOSTILE[1]))
    assert text.count("</script>") == 2 and text.count("<script") == 2
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["classes"] == list(HOSTILE) and data["name"] == HOSTILE[0]


@pytest.mark.parametrize("shape", [(2000, 900), (900, 3000), (1024, 1024), (40, 40), (5000, 1)])
def test_large_images_are_scaled_down_and_keep_their_aspect(shape):
    small = shrunk(np.zeros(shape, np.uint8)).shape
    assert max(small) == min(max(shape), LARGEST_SIDE)
    assert small[0] / small[1] == pytest.approx(shape[0] / shape[1], rel=0.01) or min(small) == 1


def test_the_page_is_small_for_large_images():
    noise = np.random.default_rng(0).integers(0, 255, (1024, 1024), np.uint8)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    assert len(page(Quiz("x", "classes", ("a", "b"), [Question("i", kind, smooth) for kind in "ab"]))) < 1_000_000


def test_an_outline_runs_along_the_edges_of_the_masks_pixels():
    mask = np.zeros((5, 6), bool)
    mask[1:3, 2:5] = True
    steps = re.findall(r"M(\d+) (\d+)([hv])1", outline(mask))
    assert len(steps) == 2 * (2 + 3)
    drawn = np.zeros((60, 70), np.uint8)
    for x, y, way in steps:
        end = (int(x) + (way == "h"), int(y) + (way == "v"))
        cv2.line(drawn, (10 * int(x), 10 * int(y)), (10 * end[0], 10 * end[1]), 255)
    found, _ = cv2.findContours(drawn, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    assert len(found) == 1 and cv2.boundingRect(found[0]) == (20, 10, 31, 21)
