"""Columns beside the images: how cells become numbers, how they travel to the network, and what predicting needs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import read_grey, tiny_experiment
from kernel_inputs import CONTEST, kaggle_inputs, keep_precision, predicted_in_a_kernel

from chestfold import Predictor
from chestfold.cli import main
from chestfold.core import checkpoint
from chestfold.core.errors import InputError
from chestfold.core.rng import generator
from chestfold.data.dataset import Dataset
from chestfold.data.tabular import Cells, Encoding, fit_encoding, is_number, read_cells
from chestfold.data.transforms.mixup import create_mix
from chestfold.integrations.kaggle.kernel import write_kernel
from chestfold.integrations.kaggle.submission import write_submission
from chestfold.models import create, rebuild
from chestfold.models.head import joined
from chestfold.models.runner import TTA


def table(**columns: list[str]) -> pd.DataFrame:
    count = len(next(iter(columns.values())))
    return pd.DataFrame({"id": [f"i{n}" for n in range(count)], "split": "train"} | columns)


def cells(**columns: list[str]) -> Cells:
    return read_cells(table(**columns), list(columns), declaring(*columns))


def declaring(*columns: str) -> Dataset:
    return Dataset(name="tiny", reader="csv", tabular=columns)


def encoded(train: Cells, *texts: str) -> list[float]:
    return fit_encoding(train).encode(np.array([texts]))[0].tolist()


# From cells to numbers


def test_a_number_is_standardised_by_the_training_images():
    train = cells(age=["20", "40", "60"])
    spread = np.std([20, 40, 60])
    assert encoded(train, "60") == pytest.approx([20 / spread]) and encoded(train, "40") == [0]
    assert encoded(train, " 6e1 ") == encoded(train, "60")


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN"])
def test_a_missing_number_is_the_mean_and_has_a_flag_where_training_has_missing_ones(missing):
    assert encoded(cells(age=["20", "40", missing]), missing) == [0, 1]
    assert encoded(cells(age=["20", "40", missing]), "30") == [0, 0]
    assert encoded(cells(age=["20", "40", "30"]), missing) == [0]


@pytest.mark.parametrize("column", [["5", "5", "5"], ["", "", "5"]])
def test_a_number_that_never_changes_says_nothing(column):
    assert encoded(cells(age=column), "5")[0] == 0


def test_a_category_is_one_of_those_of_the_training_images():
    train = cells(view=["PA", "AP", "PA", ""])
    assert encoded(train, "AP") == [1, 0] and encoded(train, " PA ") == [0, 1]
    assert encoded(train, "") == [0, 0] and encoded(train, "LATERAL") == [0, 0]
    unknown = fit_encoding(train).unknown(Cells(("view",), frozenset(), np.array([["LL"], ["AP"], [""], ["LL"]])))
    assert unknown == {"view": 2}


def test_a_column_with_a_text_among_its_numbers_is_one_of_categories():
    assert encoded(cells(stage=["1", "2", "2b", "1"]), "2b") == [0, 0, 1]


def test_columns_stand_side_by_side_in_the_order_of_the_experiment():
    train = cells(sex=["F", "M"], age=["1", "3"])
    encoding = fit_encoding(train)
    assert encoding.names == ("sex", "age") and encoding.width == 3
    np.testing.assert_array_equal(encoding.encode(train.texts), np.array([[1, 0, -1], [0, 1, 1]], np.float32))
    assert encoding.encode(train.texts).dtype == np.float32


@pytest.mark.parametrize(
    ("cell", "is_one"), [("1", True), (" -1.5e3", True), ("nan", False), ("-inf", False), ("x", False)]
)
def test_a_number_is_finite(cell, is_one):
    assert is_number(cell) == is_one


def test_what_an_encoding_is_in_words():
    encoding = fit_encoding(cells(age=["1", "3"], sex=["M", "F"]))
    assert encoding.describe() == "age (mean 2, spread 1); sex (F, M)"


def test_the_number_of_a_column_without_any_value_is_0_and_a_flag():
    encoding = fit_encoding(Cells(("age", "sex"), frozenset({"age"}), np.array([["", "F"], ["nan", "F"]])))
    age = encoding.columns[0]
    assert (age.mean, age.spread, age.flagged) == (0, 1, True)
    assert encoding.encode(np.array([["3", "F"], ["", "M"]])).tolist() == [[3, 0, 1], [0, 1, 0]]


def test_only_columns_with_unknown_categories_are_said():
    encoding = fit_encoding(cells(view=["PA", "AP"], sex=["F", "M"], age=["1", "2"]))
    asked = Cells(("view", "sex", "age"), frozenset({"age"}), np.array([["PA", " X", "9"], ["nan", "Y ", ""]]))
    assert encoding.unknown(asked) == {"sex": 2}


@pytest.mark.parametrize(("values", "is_fine"), [(50, True), (51, False)])
def test_so_many_texts_are_categories(values, is_fine):
    columns = {"name": [f"n{n}" for n in range(values)] + ["", " n0 "]}
    if is_fine:
        assert fit_encoding(cells(**columns)).width == 50
    else:
        with pytest.raises(InputError, match="51 different values"):
            cells(**columns)


def test_any_number_of_numbers_is_fine():
    found = cells(age=[str(n) for n in range(60)], sex=["F"] * 60)
    assert found.numbers == {"age"} and found.take(np.array([3, 1])).texts.tolist() == [["3", "F"], ["1", "F"]]


def test_an_encoding_survives_a_checkpoint():
    encoding = fit_encoding(cells(age=["1", "", "3"], sex=["男", "女", "男"]))
    assert Encoding.model_validate(json.loads(json.dumps(encoding.to_dict()))) == encoding


@pytest.mark.parametrize(
    ("columns", "wanted", "sentence"),
    [
        ({"age": ["1", "2"]}, "aeg", r"tiny declares no column 'aeg' \(declared: age\); name it in dataset.toml"),
        ({"age": ["1", "2"]}, "label", "tiny declares no column 'label'"),
        ({"name": [f"n{n}" for n in range(51)]}, "name", "51 different values, and 'n0' is no number"),
        ({"age": [f"{n:03d}Y" for n in range(60)]}, "age", "60 different values, and '000Y' is no number"),
    ],
)
def test_a_column_that_cannot_be_used_is_one_sentence(columns, wanted, sentence):
    with pytest.raises(InputError, match=sentence):
        read_cells(table(**columns), [wanted], declaring(*columns))


@pytest.mark.parametrize("wrong", ["old", "inf", "12,5"])
def test_a_text_where_training_had_numbers_is_refused(wrong):
    with pytest.raises(InputError, match=f"age = '{wrong}' is not a number; leave it empty"):
        encoded(cells(age=["1", "2"]), wrong)


def test_columns_without_any_value_are_refused():
    with pytest.raises(InputError, match="no training image has a value of view"):
        fit_encoding(Cells(("view",), frozenset(), np.array([["", ""]])[:, :1]))


# In the network


ENCODING = fit_encoding(cells(age=["20", "40", ""], sex=["F", "M", "F"]))


@pytest.mark.parametrize("backbone", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("width", [0, 8])
def test_a_network_with_columns_is_rebuilt_with_the_same_outputs(backbone, width):
    made = create(tiny_experiment(backbone=backbone, head_width=width), 3, ENCODING)
    torch.nn.init.normal_(made.module.get_classifier().weight)
    again = rebuild(checkpoint_of(made))
    assert again.encoding == ENCODING
    x = joined(torch.randn(2, 1, 32, 32), torch.randn(2, ENCODING.width))
    with torch.inference_mode():
        expected = made.module.eval()(x)
        assert torch.equal(again.module.eval()(x), expected)
        other = made.module(joined(x[:, :1], torch.randn(2, ENCODING.width)))
    assert expected.shape == (2, 3) and not torch.allclose(other, expected), "the numbers count"


def checkpoint_of(network) -> dict:
    from dataclasses import asdict

    return {"module": network.module.state_dict(), "network": asdict(network.blueprint)}


@pytest.mark.parametrize("view", TTA)
def test_views_of_an_image_have_the_same_numbers(view):
    numbers = torch.tensor([[0.5, -2.0, 1.0]])
    for seen in TTA[view](joined(torch.randn(1, 1, 32, 32), numbers)):
        torch.testing.assert_close(seen[:, 1:].mean(dim=(2, 3)), numbers)


@pytest.mark.parametrize("alphas", [(1.0, 0.0), (0.0, 1.0)])
def test_mixup_and_cutmix_mix_the_numbers_as_they_mix_the_targets(alphas):
    torch.manual_seed(3)
    targets = torch.eye(4)
    x = joined(torch.randn(4, 1, 32, 32), torch.eye(4))
    mixed, labels = create_mix(*alphas)(x, targets)
    assert not torch.equal(labels, targets)
    torch.testing.assert_close(mixed[:, 1:].mean(dim=(2, 3)), labels, atol=1e-5, rtol=0)


def test_a_family_without_features_is_refused():
    with pytest.raises(InputError, match="five_block_cnn cannot take another head; leave tabular empty"):
        create(tiny_experiment(backbone="five_block_cnn"), 2, ENCODING)


@pytest.mark.parametrize("settings", [{"synthetic": "made"}, {"layer_decay": 0.8}])
def test_what_tabular_excludes(settings):
    with pytest.raises(InputError, match="tabular and .*: choose one of the two"):
        tiny_experiment(tabular=("age",), **settings)


def test_training_images_without_the_columns_are_refused():
    from chestfold.core.task import create_task
    from chestfold.train import loop

    task = create_task("multiclass", ("healthy", "ill"), "ill")
    with pytest.raises(InputError, match="tabular: the training images come without the columns age"):
        loop.start(tiny_experiment(tabular=("age",)), 0, task)


# A run


@pytest.fixture
def with_columns(project):
    """`tiny` with the columns age, which tells the classes apart, and hint, which has a category of one image."""
    folder, rng = project.input / "tiny", generator("columns")
    for name, source in (("train.csv", "train.csv"), ("test.csv", "sample_submission.csv")):
        rows = pd.read_csv(folder / source, dtype=str)
        ill = rows["label"].eq("ill").to_numpy() if "label" in rows else np.arange(len(rows)) % 2 == 1
        rows["age"] = [f"{value:.1f}" for value in np.where(ill, 70, 30) + rng.normal(0, 3, len(ill))]
        rows["hint"] = ["once" if n == 0 else "" if n % 9 == 0 else "abc"[n % 3] for n in range(len(ill))]
        rows.to_csv(folder / name, index=False)
    with (folder / "dataset.toml").open("a") as file:
        file.write('tabular = ["age", "hint"]\ntest_table = "test.csv"\n')
    return project


EXP = tiny_experiment(tabular=("age", "hint"), epochs=8, lr=3e-2, backbone="test_vit", monitor="loss", freeze=True)


@pytest.fixture
def trained_with_columns(with_columns):
    with_columns.run(EXP, "--fold", "0")
    return with_columns


def test_a_run_learns_from_a_column_and_predicts_and_explains_with_it(trained_with_columns, tmp_path, capsys):
    project = trained_with_columns
    saved = checkpoint.load_weights(project.runs / "exp100" / "fold0" / "best.ckpt")
    age = Encoding.model_validate(saved["network"]["tabular"]).columns[0]
    log = (project.runs / "exp100" / "fold0" / "log.txt").read_text()
    assert "columns beside the images: age" in log
    assert 40 < age.mean < 60
    predictor = Predictor("exp100")
    file = project.input / "tiny" / "images" / "x000.png"
    old, young = (predictor(read_grey(file), {"age": age, "hint": None}).probabilities["ill"] for age in (75, "25"))
    assert old > young + 0.2
    asked = tmp_path / "asked"
    asked.mkdir()
    for name in ("x0.png", "x1.png"):
        shutil.copy(file, asked / name)
    values = tmp_path / "values.csv"
    values.write_text("id,age,hint\nx1,25,\nx0,75,new\n")
    main.main(["predict", "exp100", str(asked), "--table", str(values), "--csv", str(tmp_path / "a.csv")])
    answers = pd.read_csv(tmp_path / "a.csv")
    np.testing.assert_allclose(answers["p_ill"], [old, young], atol=1e-5)
    assert answers["heatmap"].nunique() == 2, "other values are another prediction of the same pixels"
    with pytest.raises(InputError, match="exp100 sees age, hint beside the image: give --table CSV"):
        predictor(file)
    with pytest.raises(InputError, match="exp100 sees hint beside the image: give values, None if not known"):
        predictor(file, {"age": 3})
    with pytest.raises(SystemExit):
        main.main(["predict", "exp100", str(asked)])
    assert "give --table CSV" in capsys.readouterr().err
    require_same_in_a_kernel(project, tmp_path)
    assert len(pd.read_parquet(project.runs / "exp100" / "fold0" / "test.parquet")) == 12
    main.main(["explain", "exp100", "--count", "2"])
    assert (project.runs / "exp100" / "explain" / "gradcam" / "images.csv").exists()


def require_same_in_a_kernel(project, tmp_path: Path) -> None:
    """A kernel reads the columns of the competition's table; a cell that is none of a number costs its own row."""
    made = write_kernel("exp100", CONTEST, "someone")
    inputs = kaggle_inputs(made.folder, project.input / "tiny", tmp_path / "input")
    keep_precision(inputs, project.runs)
    own = write_submission("exp100", partial=True)[0].read_bytes()
    assert predicted_in_a_kernel(made, inputs, tmp_path / "work") == own
    table = inputs / "competitions" / CONTEST / "test.csv"
    pd.read_csv(table, dtype=str).assign(age="old").to_csv(table, index=False)
    with pytest.raises(InputError, match="not one of 12 images can be read; the first: age = 'old' is not a number"):
        predicted_in_a_kernel(made, inputs, tmp_path / "again")


def test_what_is_fitted_is_fitted_to_the_training_images_of_the_fold(with_columns):
    from chestfold.core.config import Request
    from chestfold.train.prepare import prepare

    ready = prepare(Request("exp100", EXP))
    for fold in range(3):
        images = ready.fold_images(fold)
        ages = ready.index.table.set_index("id")["age"]
        age = fit_encoding(images.train.cells).columns[0]
        assert age.mean == pytest.approx(ages[images.train.ids].astype(float).mean())
        assert images.val.cells.texts[:, 0].tolist() == ages[images.val.ids].tolist()
    assert any("hint: 1 of" in line for fold in range(3) for line in ready.fold_images(fold).describe())


def test_other_values_are_another_run(trained_with_columns):
    table = trained_with_columns.input / "tiny" / "train.csv"
    pd.read_csv(table, dtype=str).assign(age="1").to_csv(table, index=False)
    with pytest.raises(InputError, match="begun with other settings .*tabular_sha256"):
        trained_with_columns.run(EXP, "--fold", "0")


def test_a_column_that_the_data_set_does_not_declare_is_refused_before_anything_begins(project):
    with pytest.raises(InputError, match=r"tabular: tiny declares no column 'age' \(declared: none\)"):
        project.run(tiny_experiment(tabular=("age",)), "--fold", "0")
    assert not project.runs.exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "values.csv does not exist"),
        ("id,age\nx0,1\n", "has no column 'hint'"),
        ("name,age,hint\nx0,1,a\n", "has no column 'file' or 'id'"),
        ("id,age,hint\nx0,1,a\nx0,2,b\n", "two rows are of id 'x0'; leave one"),
        ("", "is not a readable CSV"),
        ("id,age,hint,age\nx0,1,a,2\n", "has 2 columns called 'age'; rename or remove all but one"),
        ("id;age;hint\nx0;1;a\n", "its cells are separated by semicolons"),
        ("id,age,hint\nx0,1,a,2\n", "line 2 has 4 cells, its header 3"),
    ],
)
def test_a_table_that_does_not_fit_is_one_sentence(tmp_path, text, sentence):
    from chestfold.predict.values import ValueTable

    path = tmp_path / "values.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        ValueTable(path, ("age", "hint"))


@pytest.mark.parametrize("key", ["file", "id"])
def test_a_row_is_found_by_name_with_a_bom_and_any_letters(tmp_path, key):
    from chestfold.predict.values import ValueTable

    image = tmp_path / "胸部 #1.png"
    name = image.name if key == "file" else image.stem
    (tmp_path / "values.csv").write_text(f"\ufeffsex,{key}\n男,{name}\n", encoding="utf-8")
    found = ValueTable(tmp_path / "values.csv", ("sex",))
    assert found.of(image) == {"sex": "男"}
    with pytest.raises(InputError, match="has no row of it"):
        found.of(tmp_path / "other.png")


def test_a_run_without_columns_needs_no_table(trained, tmp_path):
    (tmp_path / "values.csv").write_text("id\nx0\n")
    with pytest.raises(InputError, match="exp100 sees nothing but the image; leave the table away"):
        Predictor("exp100", table=tmp_path / "values.csv")
