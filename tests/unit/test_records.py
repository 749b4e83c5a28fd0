"""JSON files are read back as typed records; a wrong field is one sentence that names the file and the field."""

import json

import pytest
from conftest import record_of

from chestfold.core.errors import InputError
from chestfold.core.files import read_json, write_json, write_plain_json
from chestfold.core.records import Record
from chestfold.core.run_folder import FoldConfig, FoldManifest
from chestfold.evaluate.results import NotRun, ResultRecord, find_result


class Inner(Record):
    images: int


class Example(Record):
    name: str
    sizes: tuple[int, ...]
    inner: Inner
    remark: str | None = None


EXAMPLE = Example(name="a", sizes=(1, 2), inner=Inner(images=3))


@pytest.fixture
def path(tmp_path):
    EXAMPLE.write(tmp_path / "example.json")
    return tmp_path / "example.json"


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        Example.from_json(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and text.endswith("; restore the file, or make it again")
    assert "\n" not in text
    return text


def test_a_record_is_read_back_as_it_was_written(path):
    assert Example.from_json(path) == EXAMPLE
    assert read_json(path) == {"name": "a", "sizes": [1, 2], "inner": {"images": 3}}, "None is left out"


def test_a_record_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        EXAMPLE.name = "b"


def test_an_unknown_field_is_named(path):
    write_json(path, read_json(path) | {"nmae": "a"})
    assert ": nmae: " in refusal(path)


def test_a_missing_field_is_named(path):
    write_json(path, {key: value for key, value in read_json(path).items() if key != "name"})
    assert ": name: field required" in refusal(path)


def test_a_field_of_another_type_is_named_with_its_place(path):
    write_json(path, read_json(path) | {"inner": {"images": "many"}})
    assert ": inner.images: " in refusal(path)
    write_json(path, read_json(path) | {"inner": {"images": 3}, "sizes": [1, "x"]})
    assert ": sizes.1: " in refusal(path)


@pytest.mark.parametrize("value", [[], "text", 3, None])
def test_another_kind_of_value_is_refused(path, value):
    write_plain_json(path, value)
    refusal(path)


def test_a_file_that_is_not_json_and_one_that_is_missing(path):
    path.write_text('{"name": ')
    with pytest.raises(InputError, match=r"example\.json is not valid JSON"):
        Example.from_json(path)
    path.unlink()
    with pytest.raises(InputError, match=r"example\.json does not exist; restore it, or make it again"):
        Example.from_json(path)


@pytest.mark.parametrize(("kind", "younger"), [(FoldConfig, ["task", "shown"]), (FoldManifest, [])])
def test_the_files_of_a_fold_are_records(trained, kind, younger):
    """`younger`: fields that files of before do not have."""
    name = {FoldConfig: "config.json", FoldManifest: "manifest.json"}[kind]
    path = trained.runs / "exp100" / "fold0" / name
    values = read_json(path)
    assert json.loads(json.dumps(kind.from_json(path).to_dict())) == values
    assert [field for field in values if not kind.model_fields[field].is_required()] == younger
    for field in set(values) - set(younger):
        write_json(path, {key: value for key, value in values.items() if key != field})
        with pytest.raises(InputError, match=rf"fold0/{name}: {field}: field required"):
            kind.from_json(path)
    write_json(path, values | {"older": 1})
    with pytest.raises(InputError, match=rf"fold0/{name}: older: "):
        kind.from_json(path)


def test_scores_json_is_a_record(trained):
    path = trained.runs / "exp100" / "scores.json"
    values = read_json(path)
    assert find_result("exp100").record.to_dict() == values
    for field in ("name", "kind", "folds", "scores"):
        write_json(path, {key: value for key, value in values.items() if key != field})
        with pytest.raises(InputError, match=rf"exp100/scores\.json: {field}: field required"):
            find_result("exp100")


@pytest.mark.parametrize("kind", ["blend", 3])
def test_a_result_of_an_unknown_kind_is_refused(tmp_path, kind):
    path = tmp_path / "scores.json"
    write_json(path, record_of("exp100").to_dict() | {"kind": kind})
    with pytest.raises(InputError, match=r"scores\.json: kind: "):
        ResultRecord.from_json(path)


def test_not_run_json_is_a_record(tmp_path):
    write_json(tmp_path / "not_run.json", {"name": "exp100", "why": "weights"})
    with pytest.raises(InputError, match=r"not_run\.json: data: field required"):
        NotRun.from_json(tmp_path / "not_run.json")
