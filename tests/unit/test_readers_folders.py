"""Class folders with folders below them, links, and names in any letters."""

import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from layouts import declared, put, rows

from chestfold.core.errors import InputError
from chestfold.data.catalogue import find_dataset, open_index
from chestfold.data.check import Report, check, summary
from chestfold.data.dataset import Index
from chestfold.data.readers import read_index
from chestfold.data.readers.files import list_images, short_names, split_suffix

PLAIN = ("train/healthy/a.png", "train/ill/b.png")


def read(root: Path, *places: str, **changes) -> Index:
    return read_index(declared(**changes), put(root, *places))


def ids(index: Index) -> list[str]:
    return index.table["id"].tolist()


def test_folders_below_the_class_folders_are_read(tmp_path):
    index = read(tmp_path, *PLAIN, "train/ill/second/c.png", "train/ill/second/third/d.JPG")
    assert rows(index, "id", "label", "group")[1:] == [
        ("train/ill/b", "ill", "train/ill/b"),
        ("train/ill/second/c", "ill", "train/ill/second/c"),
        ("train/ill/second/third/d", "ill", "train/ill/second/third/d"),
    ]
    assert any("2 image(s) lie in folders below their class folder" in note for note in index.notes)


def test_a_folder_for_each_patient(tmp_path):
    places = [f"train/{kind}/{who}/{n}.png" for kind in ("healthy", "ill") for who in ("p1", "p2") for n in (0, 1)]
    index = read(tmp_path, *places, "train/ill/p3/ct/slice.png", "train/ill/alone.png", "test/p2/x.png", group="folder")
    assert sorted(set(index.train["group"])) == ["p1", "p2", "p3", "train/ill/alone"]
    assert rows(index, "id", "group")[-1] == ("p2/x", "p2")
    assert index.notes == ()


def test_a_test_folder_with_folders_is_unlabelled(tmp_path):
    index = read(tmp_path, *PLAIN, "test/x0.png", "test/b/x1.png", "test/b/c/x2.png")
    assert rows(index, "id", "label")[2:] == [("b/c/x2", ""), ("b/x1", ""), ("x0", "")]


def test_what_is_no_image_in_an_unlabelled_test_folder_is_said(tmp_path):
    index = read(tmp_path, *PLAIN, "test/x0.png", "test/a.txt", "test/b/x1.png", "test/b/c.txt", "test/b/d/e.txt")
    assert index.notes == ("ignored: 1 file(s) .txt in test/", "ignored: 2 file(s) .txt in b/")


def test_a_test_folder_that_is_labelled_in_part_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"test/x0\.png is outside a class folder"):
        read(tmp_path, *PLAIN, "test/x0.png", "test/ill/x1.png")
    with pytest.raises(InputError, match="'sick' is not a declared class"):
        read(tmp_path / "other", *PLAIN, "test/sick/x0.png", "test/ill/x1.png")


@pytest.mark.parametrize("name", ["valid", "validation", "Validation", "Val", "TRAIN", "Training"])
def test_other_names_of_the_splits(tmp_path, name):
    places = [f"{name}/healthy/a.png", f"{name}/ill/b.png", "Testing/x.png"]
    index = read(tmp_path, *places)
    assert len(index.train) == 2 and len(index.test) == 1
    assert f"{name}/ is read as a part of train" in index.notes
    assert "Testing/ is read as a part of test" in index.notes


def test_a_class_may_be_called_like_a_split(tmp_path):
    index = read(tmp_path, "valid/a.png", "broken/b.png", classes=("valid", "broken"), positive="broken")
    assert index.train["label"].tolist() == ["broken", "valid"]


def test_what_lies_beside_the_splits_is_said(tmp_path):
    index = read(tmp_path, *PLAIN, "extra/x/c.png", "extra/d.png", "e.png", "train/f.txt", "train/ill/.cache/g.png")
    (tmp_path / "dataset.toml").touch()
    notes = read_index(declared(), tmp_path).notes
    assert set(notes) == {
        "ignored: extra/ with 2 image(s)",
        "ignored: 1 image(s) beside the folders train",
        "ignored: 1 file(s) .txt in train/",
        "ignored: 1 folder(s) .cache in ill/",
    }
    assert len(index.table) == 2


def test_what_lies_beside_an_inner_folder_is_said(tmp_path):
    places = [f"chest/{place}" for place in PLAIN]
    index = read(tmp_path, *places, "more/ill/c.png", "d.png")
    assert ids(index) == ["chest/train/healthy/a", "chest/train/ill/b"]
    assert set(index.notes) == {"ignored: more/ with 1 image(s)", "ignored: 1 image(s) beside the folders chest"}


def test_two_inner_folders_are_refused(tmp_path):
    places = [f"{hospital}/{place}" for hospital in ("north", "south") for place in PLAIN]
    with pytest.raises(InputError, match="north and .*south both hold a folder train, .*; move the images of all"):
        read(tmp_path, *places)


def test_the_declaration_is_not_said_to_be_ignored(tmp_path):
    put(tmp_path, "healthy/a.png", "ill/b.png")
    (tmp_path / "dataset.toml").touch()
    assert read_index(declared(), tmp_path).notes == ()


def test_a_split_without_class_folders_and_a_class_folder_without_images_are_refused(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(InputError, match=r"train has no class folders; expected healthy, ill$"):
        read(tmp_path)
    put(tmp_path, "train/healthy/a.png")
    (tmp_path / "train/ill").mkdir()
    with pytest.raises(InputError, match=r"train/ill holds no images; add some or remove the folder$"):
        read(tmp_path)


def test_where_train_lies_beside_a_folder_with_another_the_outer_one_is_read(tmp_path):
    index = read(tmp_path, *PLAIN, "again/train/ill/c.png")
    assert ids(index) == ["train/healthy/a", "train/ill/b"]
    assert index.notes == ("ignored: again/ with 1 image(s)",)


def test_the_splits_are_read_in_one_order_and_left_out_what_is_none(tmp_path):
    places = ["test/x.png", "val/ill/c.png", "Valid/ill/d.png", *PLAIN]
    index = read(tmp_path, *places, ".hidden/e.png", "__MACOSX/f.png")
    assert ids(index) == ["Valid/ill/d", "train/healthy/a", "train/ill/b", "val/ill/c", "x"]
    assert index.notes == ("ignored: .hidden/", "ignored: __MACOSX/", "Valid/ is read as a part of train")


def test_a_class_that_is_called_like_another_name_of_a_split_keeps_its_folder(tmp_path):
    index = read(tmp_path, "Testing/a.png", "ill/b.png", classes=("Testing", "ill"), positive="ill")
    assert index.train["label"].tolist() == ["Testing", "ill"]


@pytest.mark.parametrize(
    ("changes", "is_said"), [({}, True), ({"group": "folder"}, False), ({"patient_pattern": "^[a-z]"}, False)]
)
def test_folders_below_the_class_folders_are_said_where_nothing_tells_patients(tmp_path, changes, is_said):
    notes = read(tmp_path, *PLAIN, "train/ill/p/c.png", **changes).notes
    assert notes == (
        (
            "1 image(s) lie in folders below their class folder, and each is its own patient; if such a folder is a "
            'patient, declare group = "folder"',
        )
        if is_said
        else ()
    )


def test_patterns_label_a_test_folder_whatever_its_folders_are_called(tmp_path):
    changes: dict = {"class_patterns": {"healthy": "h[0-9]", "ill": "i[0-9]"}}
    places = ["train/x/h1.png", "train/x/i1.png"]
    labelled = read(tmp_path / "a", *places, "test/y/i2.png", **changes)
    assert labelled.test["label"].tolist() == ["ill"]
    flat = read(tmp_path / "b", *places, "test/i2.png", **changes)
    assert flat.test["label"].tolist() == [""]
    mixed = read(tmp_path / "c", *places, "test/y/i2.png", "test/i3.png", **changes)
    assert mixed.test["label"].tolist() == ["", ""]
    for number, name in ((0, "j1"), (2, "h1i1")):
        with pytest.raises(
            InputError, match=rf"{name}.png: its name fits {number} of the classes healthy, ill, not one"
        ):
            read(tmp_path / name, *places, f"train/x/{name}.png", **changes)


# Listings


def test_a_folder_that_cannot_be_read_is_said(tmp_path):
    with pytest.raises(InputError, match=r"gone cannot be read \(No such file or directory\)"):
        list_images(tmp_path / "gone")


def test_images_are_listed_in_the_order_of_their_names_with_or_without_those_below(tmp_path):
    put(tmp_path, "b.png", "a.PNG", "c/d.png", "c/.e.png", ".f/g.png", "h.txt", "i.csv", "dataset.toml", "j/k.txt")
    deep, flat = list_images(tmp_path), list_images(tmp_path, deep=False)
    assert [path.relative_to(tmp_path).as_posix() for path in deep.images] == ["a.PNG", "b.png", "c/d.png"]
    assert [path.name for path in flat.images] == ["a.PNG", "b.png"]
    assert deep.others == {"file(s) .png": 1, "file(s) .txt": 2, "folder(s) .f": 1}
    assert flat.others == {"file(s) .txt": 1, "folder(s) .f": 1}
    assert flat.notes() == [f"ignored: 1 {kind} in {tmp_path.name}/" for kind in ("file(s) .txt", "folder(s) .f")]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a.png", ("a", ".png")),
        ("a.b.JPG", ("a.b", ".JPG")),
        ("a.txt", ("a.txt", "")),
        ("a", ("a", "")),
        (".png", (".png", "")),
        ("p/.png", ("p/.png", "")),
        ("p/a.dcm", ("p/a", ".dcm")),
        ("1.2.840", ("1.2.840", "")),
        ("a.", ("a.", "")),
    ],
)
def test_the_suffix_of_an_image(name, parts):
    assert split_suffix(name) == parts


def test_short_names_are_those_that_one_image_has():
    found = short_names(["p/s/a.png", "q/s/a", "q/s/b", "c", "q/t/e\u0301.png"])
    assert found == {"s/b": "q/s/b", "b": "q/s/b", "t/\u00e9": "q/t/e\u0301.png", "\u00e9": "q/t/e\u0301.png"}


# What is checked


def test_copies_in_other_folders_are_found_and_what_they_contradict(project):
    root = project.input / "wards"
    images = [(project.input / f"tiny/images/t{n:03d}.png").read_bytes() for n in range(4)]
    layout = {"train/healthy/p1/a": 0, "train/healthy/p2/b": 1, "train/ill/p3/c": 2, "train/ill/p4/d": 0}
    layout |= {"train/ill/p4/e": 3, "test/p4/x": 0, "test/p5/y": 3}
    for name, number in layout.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.png").write_bytes(images[number])
    (root / "dataset.toml").write_text(
        'classes = ["healthy", "ill"]\npositive = "ill"\nreader = "folders"\ngroup = "folder"\n'
    )
    report = check(open_index("wards"))
    assert report.unreadable == [] and report.formats == {"PNG L 32x32": 7}
    assert sorted(map(sorted, report.exact)) == [
        ["p4/x", "train/healthy/p1/a", "train/ill/p4/d"],
        ["p5/y", "train/ill/p4/e"],
    ]
    assert report.conflicts == [("train/healthy/p1/a", "train/ill/p4/d")]
    assert report.both_splits == ["p4"] and report.test_images_in_train == 2
    lines = summary(open_index("wards"), report)
    assert "exact duplicates: 2 groups of 5 files" in lines
    assert lines[1] == "train: 5 images (ill 3, healthy 2), 4 groups, 1 of them with more than one image (at most 2)"
    assert lines[2] == "test: 2 images (unlabelled 2), 2 groups, 0 of them with more than one image (at most 1)"


@pytest.mark.parametrize(("kinds", "end"), [(5, "k4 (1)"), (6, "k4 (1), and 1 more"), (8, "k4 (1), and 3 more")])
def test_of_many_formats_five_are_named_and_of_many_pairs_twenty(tmp_path, kinds, end):
    index = read(tmp_path, *PLAIN)
    report = Report(
        unreadable=["x is damaged"],
        formats=Counter([f"k{n}" for n in range(kinds)]),
        exact=[["a", "b"], ["c", "d", "e"]],
        near=[("a", "b")],
        conflicts=[(f"a{n:02d}", f"b{n:02d}") for n in range(21)],
        both_splits=[f"p{n:02d}" for n in range(21)],
        test_images_in_train=3,
    )
    lines = summary(index, report)
    assert lines[0] == f"mine: {tmp_path}" and lines[1].startswith("train: 2 images (healthy 1, ill 1), 2 groups, 0 of")
    assert lines[2] == "test: 0 images (), 0 groups, 0 of them with more than one image (at most 0)"
    assert lines[3:8] == [
        f"formats: k0 (1), k1 (1), k2 (1), k3 (1), {end}",
        "unreadable: 1",
        "  x is damaged",
        "exact duplicates: 2 groups of 5 files",
        "near duplicates: 1 pairs (the exact ones among them)",
    ]
    assert lines[8:10] == ["the same image under two labels: 21", "  a00 and b00"] and lines[28] == "  a19 and b19"
    assert lines[29:32] == ["test images that are in train too: 3", "patients in train and in test: 21", "  p00"]
    assert lines[-1] == "  p19" and len(lines) == 51


def test_the_format_of_an_array_is_that(tmp_path):
    arrays = {"train_images": np.zeros((2, 4, 4), np.uint8), "train_labels": np.array(["healthy", "ill"])}
    np.savez(tmp_path / "mine.npz", **arrays)
    assert check(read_index(declared(reader="npz"), tmp_path)).formats == {"array": 2}


# Links


def test_links_to_files_and_folders_are_followed(tmp_path):
    root, elsewhere = put(tmp_path / "set", "train/healthy/a.png"), put(tmp_path / "else", "b.png", "deep/c.png")
    (root / "train" / "ill").symlink_to(elsewhere)
    (root / "train" / "healthy" / "d.png").symlink_to(elsewhere / "b.png")
    assert ids(read_index(declared(), root)) == [
        "train/healthy/a",
        "train/healthy/d",
        "train/ill/b",
        "train/ill/deep/c",
    ]


@pytest.mark.parametrize("target", [".", "..", "../..", "../../.."])
def test_a_link_back_is_no_endless_loop(tmp_path, target):
    put(tmp_path / "set", *PLAIN)
    (tmp_path / "set/train/ill/loop").symlink_to(target)
    index = read_index(declared(), tmp_path / "set")
    assert ids(index) == ["train/healthy/a", "train/ill/b"]
    assert "ignored: 1 link(s) to the folder that they lie in in ill/" in index.notes


def test_a_link_to_itself_is_no_folder(tmp_path):
    put(tmp_path / "set", *PLAIN)
    for name in ("self", "self.png"):
        (tmp_path / "set/train/ill" / name).symlink_to(name)
    (tmp_path / "set/train/self").symlink_to("self")
    index = read_index(declared(), tmp_path / "set")
    assert ids(index) == ["train/healthy/a", "train/ill/b", "train/ill/self"]
    assert "ignored: 1 file(s) self in ill/" in index.notes


def test_a_link_to_nothing_is_an_unreadable_image(project):
    from chestfold.data import folds

    root = put(project.input / "wards", *PLAIN, "train/ill/c.png", "train/healthy/d.png")
    (root / "dataset.toml").write_text('classes = ["healthy", "ill"]\npositive = "ill"\nreader = "folders"\n')
    for n in range(3):
        (root / f"train/ill/gone{n}.png").symlink_to(f"/nowhere/{n}.png")
    index = open_index("wards")
    report = check(index)
    assert len(index.table) == 7 and len(report.unreadable) == 3
    assert report.unreadable[0].startswith(f"{root / 'train/ill/gone0.png'} cannot be read (No such file or directory)")
    assert "unreadable: 3" in summary(index, report)
    with pytest.raises(InputError, match=r"gone0\.png cannot be read"):
        folds.make(index, "wards", 2)


# Names


def test_class_folders_are_compared_in_composed_letters(tmp_path):
    names = ("正常", "が(肺がん)")
    for name in names:
        put(tmp_path, f"{unicodedata.normalize('NFD', name)}/é.png")
    index = read_index(declared(classes=names, positive=names[1]), tmp_path)
    assert sorted(index.train["label"]) == sorted(names)
    assert all(unicodedata.is_normalized("NFC", image_id) for image_id in ids(index))
    assert all((tmp_path / place).exists() for place in index.table["path"])


def test_names_that_look_the_same_are_a_clash(tmp_path):
    put(tmp_path, "healthy/a.png", "ill/\u00e9.png", "ill/e\u0301.png")
    with pytest.raises(InputError, match="occurs twice"):
        read_index(declared(), tmp_path)


def test_names_that_no_table_can_hold_are_refused(tmp_path):
    put(tmp_path, "healthy/a.png", "ill/b.png")
    (tmp_path / "ill" / "\udc90\udcb3.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"the name '.*\\udc90\\udcb3\.png' is not in UTF-8; rename the file"):
        read_index(declared(), tmp_path)
    (tmp_path / "ill" / "\udc90\udcb3.png").rename(tmp_path / "ill" / "c\r.png")
    with pytest.raises(InputError, match="holds a carriage return"):
        read_index(declared(), tmp_path)


ODD = ["a #1", "#", "x.npz#train_images", "50%20", "[1](a)+&=é", "a\nb", 'q"q', "c,d", "s;t", "back\\slash", "{id}"]
ODD += ["star*", "?", " lead", "trail ", "~", "$x", "日本 語", "1.2.3", "😀", "[bold]", "nan", "-1"]


def test_every_letter_that_a_file_system_allows(project):
    from chestfold.data import folds

    root = project.input / "odd"
    (root / "images").mkdir(parents=True)
    images = [(project.input / "tiny/images" / f"t{n:03d}.png").read_bytes() for n in range(len(ODD))]
    lines = ["id,label"]
    for n, (name, image) in enumerate(zip(ODD, images, strict=True)):
        (root / "images" / f"{name}.png").write_bytes(image)
        quoted = name.replace('"', '""')
        lines.append(f'"{quoted}",{"ill" if n % 2 else "healthy"}')
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    (root / "dataset.toml").write_text('classes = ["healthy", "ill"]\npositive = "ill"\nreader = "csv"\n')
    index = open_index("odd")
    assert sorted(ids(index)) == sorted(ODD) and check(index).unreadable == []
    assert sorted(folds.make(index, "odd", 2)[0].table["id"]) == sorted(ODD)


# Files


def test_dicom_without_a_suffix_is_an_image(tmp_path):
    put(tmp_path, "healthy/a.png", "ill/b.png")
    for name in ("IM0001", "DICOMDIR", "README", "1.2.840.55", "1.2.840.56", "notes.1"):
        (tmp_path / "ill" / name).write_bytes(b"text" if name in ("README", "notes.1") else b"\0" * 128 + b"DICM")
    index = read_index(declared(), tmp_path)
    assert ids(index) == ["healthy/a", "ill/1.2.840.55", "ill/1.2.840.56", "ill/IM0001", "ill/b"]
    assert index.notes[1:] == ("ignored: 1 file(s) DICOMDIR in ill/", "ignored: 1 file(s) README in ill/")


def test_several_labels_by_patterns(tmp_path):
    places = [
        "train/NORMAL/IM-0115-0001.jpeg",
        "train/PNEUMONIA/person1_bacteria_1.jpeg",
        "train/PNEUMONIA/deep/person2_virus_6.jpeg",
        "train/PNEUMONIA/person3_fungus_6.jpeg",
        "test/x.jpeg",
    ]
    put(tmp_path, *places)
    dataset = find_dataset("chest_xray_multilabel").model_copy(update={"patient_pattern": ""})
    index = read_index(dataset, tmp_path)
    assert index.table["label"].tolist() == ["-", "PNEUMONIA|VIRUS", "PNEUMONIA|BACTERIA", "PNEUMONIA", ""]


def test_labels_are_counted_one_by_one(project):
    root = put(project.input / "wards", "x/a_1.png", "x/b_1.png", "x/ab_1.png", "x/c_1.png")
    (root / "dataset.toml").write_text(
        'reader = "folders"\ntask = "multilabel"\nclasses = ["A", "B"]\nwarning = "all are drawn"\n'
        'class_patterns.A = "a"\nclass_patterns.B = "b"\n'
    )
    index = open_index("wards")
    lines = summary(index, check(index))
    assert lines[1] == "warning: all are drawn"
    assert lines[2].startswith("train: 4 images (A 2, B 2, none of them 1), 4 groups")


def test_labels_that_are_not_known_are_counted_too(project):
    root = put(project.input / "clinic", *[f"images/{name}.png" for name in "abcd"])
    (root / "train.csv").write_text("id,A,B\na,1,0\nb,-1,1\nc,0,0\nd,-1,0\n")
    (root / "dataset.toml").write_text(
        'reader = "csv"\ntask = "multilabel"\nclasses = ["A", "B"]\nlabels = ["A", "B"]\nunknown = ["-1"]\n'
    )
    index = open_index("clinic")
    lines = summary(index, check(index))
    assert lines[2].startswith("train: 4 images (A 1, B 1, none of them 1, not known in part 2), 4 groups")


def test_the_real_chest_x_rays_with_several_labels(real_data):
    index = read_index(find_dataset("chest_xray_multilabel"), real_data / "chest_xray")
    counts = index.train["label"].value_counts().to_dict()
    assert counts == {"PNEUMONIA|BACTERIA": 2538, "-": 1349, "PNEUMONIA|VIRUS": 1345}
    assert set(index.test["label"]) == {""}


def test_patients_in_both_parts_and_images_of_two_labels_are_named(tmp_path):
    index = read(tmp_path, *PLAIN, "train/healthy/c.png", "train/ill/d.png")
    about = replace(check(index), conflicts=[("a", "b")], both_splits=["p1", "p2"])
    lines = summary(index, about)
    assert "  a and b" in lines and lines[-3:] == ["patients in train and in test: 2", "  p1", "  p2"]
