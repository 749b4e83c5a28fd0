"""What is wrong with a data set, before a model learns it."""

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.task import create_task
from chestfold.data.cache import content_hashes, in_threads
from chestfold.data.dataset import Dataset, Index
from chestfold.data.decode import decode, open_header, read_bytes, split_place
from chestfold.data.dicom import describe, is_dicom
from chestfold.data.duplicates import exact_groups, near_pairs
from chestfold.data.folds import DEFAULT_COUNT, large_groups

THUMBNAIL = 64


@dataclass(frozen=True)
class Report:
    """Findings on all images of an index, train and test. Groups and pairs hold ids.

    `test_images_in_train`: how many test images are in the training set too, as they are or nearly so.
    """

    unreadable: list[str]
    formats: Counter[str]
    exact: list[list[str]]
    near: list[tuple[str, str]]
    conflicts: list[tuple[str, str]]
    both_splits: list[str]
    test_images_in_train: int


def check(index: Index) -> Report:
    """Read every image; find damaged files, odd formats, duplicates, label conflicts, patients in both splits."""
    table = index.table
    places, declared = table["path"].tolist(), index.dataset.levels
    thumbnails = np.zeros((len(places), THUMBNAIL, THUMBNAIL), np.uint8)

    def look(n: int) -> str:
        """Format of image n; its thumbnail is kept on the way."""
        try:
            thumbnails[n] = decode(index.root, places[n], THUMBNAIL, *declared)
            return _format(index, places[n])
        except InputError as error:
            return f"!{error}"

    seen = in_threads(look, len(places), "reading images")
    good = [n for n, text in enumerate(seen) if not text.startswith("!")]
    kept = replace(index, table=table.iloc[good].reset_index(drop=True))
    ids, labels, splits = (kept.table[c].tolist() for c in ("id", "label", "split"))
    exact, near = exact_groups(content_hashes(kept)), near_pairs(thumbnails[good])
    links = [*exact, *near]
    both = set(kept.train["group"]) & set(kept.test["group"])
    return Report(
        unreadable=[text[1:] for text in seen if text.startswith("!")],
        formats=Counter(seen[n] for n in good),
        exact=[[ids[n] for n in group] for group in exact],
        near=[(ids[a], ids[b]) for a, b in near],
        conflicts=_conflicts(links, ids, labels),
        both_splits=sorted(both),
        test_images_in_train=_test_images_in_train(links, splits),
    )


def _format(index: Index, place: str) -> str:
    if split_place(place)[1]:
        return "array"
    data = read_bytes(index.root, place)
    if is_dicom(data):
        return describe(data, place)
    header = open_header(data, index.root / place)
    return f"{header.format} {header.mode} {header.width}x{header.height}"


def _label_counts(dataset: Dataset, labels: pd.Series) -> str:
    """How many images have each label, the most frequent one first."""
    if dataset.task != "multilabel":
        return ", ".join(f"{name or 'unlabelled'} {count}" for name, count in labels.value_counts().items())
    truth = create_task(dataset.task, dataset.classes).labels(labels[labels != ""].tolist())
    present = (truth == 1).sum(axis=0)
    counts = [f"{name} {count}" for name, count in zip(dataset.classes, present, strict=True)]
    others = {
        "none of them": int((truth == 0).all(axis=1).sum()),
        "not known in part": int(np.isnan(truth).any(axis=1).sum()),
        "unlabelled": int((labels == "").sum()),
    }
    return ", ".join([*counts, *(f"{what} {count}" for what, count in others.items() if count)])


def _conflicts(links: list, ids: list[str], labels: list[str]) -> list[tuple[str, str]]:
    """Pairs of the same image under different labels."""
    pairs = set()
    for link in links:
        known = [n for n in link if labels[n]]
        pairs |= {(ids[known[0]], ids[n]) for n in known[1:] if labels[n] != labels[known[0]]}
    return sorted(pairs)


def _test_images_in_train(links: list, splits: list[str]) -> int:
    """Each image once, though a group of equal files holds many pairs."""
    found: set[int] = set()
    for link in links:
        tested = {n for n in link if splits[n] == "test"}
        if len(tested) < len(link):
            found |= tested
    return len(found)


def summary(index: Index, report: Report) -> list[str]:
    """The report in lines for a person."""
    lines = [f"{index.dataset.name}: {index.root}", *index.notes]
    if index.dataset.warning:
        lines.insert(1, f"warning: {index.dataset.warning}")
    for split, part in (("train", index.train), ("test", index.test)):
        counts = _label_counts(index.dataset, part["label"])
        sizes = part["group"].value_counts()
        lines.append(
            f"{split}: {len(part)} images ({counts}), {len(sizes)} groups, {int((sizes > 1).sum())} of them with "
            f"more than one image (at most {int(sizes.max()) if len(sizes) else 0})"
        )
    lines += large_groups(index, DEFAULT_COUNT)
    shown = ", ".join(f"{kind} ({count})" for kind, count in report.formats.most_common(5))
    more = len(report.formats) - 5
    lines.append(f"formats: {shown}" + (f", and {more} more" if more > 0 else ""))
    lines.append(f"unreadable: {len(report.unreadable)}")
    lines += [f"  {text}" for text in report.unreadable]
    lines.append(f"exact duplicates: {len(report.exact)} groups of {sum(map(len, report.exact))} files")
    lines.append(f"near duplicates: {len(report.near)} pairs (the exact ones among them)")
    lines.append(f"the same image under two labels: {len(report.conflicts)}")
    lines += [f"  {a} and {b}" for a, b in report.conflicts[:20]]
    lines.append(f"test images that are in train too: {report.test_images_in_train}")
    lines.append(f"patients in train and in test: {len(report.both_splits)}")
    lines += [f"  {name}" for name in report.both_splits[:20]]
    return lines
