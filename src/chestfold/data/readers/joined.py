"""Several data sets as one."""

from pathlib import Path

from chestfold.data.dataset import Dataset, Index, make_index


def join(dataset: Dataset, root: Path, parts: list[Index]) -> Index:
    """The images of `parts`, all below `root`; ids and patients carry the name of their part."""
    rows: list[dict[str, str]] = []
    for part in parts:
        folder = part.root.relative_to(root).as_posix()
        for row in part.table.to_dict("records"):
            named = {key: f"{folder}/{row[key]}" for key in ("id", "path", "group")}
            rows.append({"label": str(row["label"]), "split": str(row["split"]), **named})
    return make_index(dataset, root, rows, [f"{p.dataset.name}: {note}" for p in parts for note in p.notes])
