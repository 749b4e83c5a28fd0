"""A data set that `chestfold synth blend` has made, read again: for the quiz and for the classifier test."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chestfold.core.errors import InputError
from chestfold.core.files import input_dir, read_json, sha256_file
from chestfold.data.decode import decode_native
from chestfold.data.tables import read_table
from chestfold.synth.blend.paste import Grey
from chestfold.synth.blend.poisson import Mask


@dataclass(frozen=True)
class Sample:
    """An image with a nodule, `truth` "real" or "synthetic". `mask`: where the nodule is; None: nobody knows."""

    id: str
    truth: str
    image: Grey
    mask: Mask | None


@dataclass(frozen=True)
class BlendedSet:
    """A data set that `synth blend` has made. `blended`, `real`: rows of its tables."""

    folder: Path
    about: dict[str, Any]
    blended: pd.DataFrame
    real: pd.DataFrame

    def sample(self, image_id: str, truth: str) -> Sample:
        """An image of one table or the other, with its mask."""
        images, masks = ("real/images", "real/masks") if truth == "real" else ("images", "masks/nodule")
        file = f"{image_id}.png"
        has_mask = (self.folder / masks / file).exists()
        mask = decode_native(self.folder / masks, file) > 0 if has_mask else None
        return Sample(image_id, truth, decode_native(self.folder / images, file), mask)


def open_blended_set(name: str) -> BlendedSet:
    """The data set input/NAME, if `synth blend` has made it and its tables are still the ones it wrote.

    Raises:
        InputError: there is none, it was made by something else, or a table was changed.
    """
    folder = input_dir() / name
    if Path(name).name != name or not (folder / "synth.json").is_file():
        raise InputError(f"{folder} is no data set of synthetic nodules; make one: chestfold synth blend --help")
    about = read_json(folder / "synth.json")
    for table, digest in about["sha256"].items():
        if not (folder / table).is_file() or sha256_file(folder / table) != digest:
            raise InputError(f"{folder / table} is not the table that was made; remove {folder} and make it again")
    rows = read_table(folder / "train.csv")
    blended = rows[rows["parents"] != ""].reset_index(drop=True)
    return BlendedSet(folder, about, blended, read_table(folder / "real.csv"))
