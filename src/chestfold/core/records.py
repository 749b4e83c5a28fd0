"""JSON files as typed records: what is read back is checked, and a wrong field is one sentence."""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from chestfold.core.errors import InputError
from chestfold.core.files import is_plain_name, read_json, write_json


def _nan_for_null(value: Any) -> Any:
    return math.nan if value is None else value


Figure = Annotated[float, BeforeValidator(_nan_for_null)]
"""A number that may be undefined: NaN here, null in a file, because JSON has no NaN."""


def _plain(name: str) -> str:
    if name and not is_plain_name(name):
        raise ValueError(f"{name!r} is no plain name, without folders or a dot in front")
    return name


PlainName = Annotated[str, AfterValidator(_plain)]
"""A name that becomes a part of a path: of a run, a data set, a fold file, a file in a folder; or empty."""


class Record(BaseModel):
    """A frozen record whose fields are the keys of a JSON file; an unknown key is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @classmethod
    def from_json(cls, path: Path) -> Self:
        """The record in a JSON file.

        Raises:
            InputError: the file is missing or damaged, or a field is missing, unknown or of another type.
        """
        if not path.exists():
            raise InputError(f"{path} does not exist; restore it, or make it again")
        return cls.from_dict(read_json(path), path)

    @classmethod
    def from_dict(cls, values: Any, source: Path) -> Self:
        """The record of some values that were read from `source`; raises as `from_json`."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the file"
            reason = first["msg"][0].lower() + first["msg"][1:]
            raise InputError(f"{source}: {field}: {reason}; restore the file, or make it again") from error

    def to_dict(self) -> dict[str, Any]:
        """The record as JSON types; fields that are None are left out, and NaN is None."""
        return json.loads(json.dumps(self.model_dump(exclude_none=True)), parse_constant=lambda _: None)

    def write(self, path: Path) -> None:
        """Atomically replace `path` by the record."""
        write_json(path, self.to_dict())
