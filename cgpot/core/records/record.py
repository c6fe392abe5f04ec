# SPDX-License-Identifier: GPL-2.0-or-later
"""What all records have in common: a format, validation, reading and writing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cgpot.core.errors import InputError
from cgpot.core.files import read_json, write_json

Positive = Annotated[float, Field(gt=0.0)]
Names = Annotated[tuple[str, ...], Field(min_length=1)]


class Record(BaseModel):
    """Content of a JSON file with a key ``format``; keys beyond the fields are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)

    FORMAT: ClassVar[str] = ""
    """Value of the key ``format``."""
    OTHER_FORMAT: ClassVar[str] = ""
    """What to do with a file of another format, for the message."""

    @classmethod
    def of(cls, content: Any, file: str | Path) -> Self:
        """The record of plain data.

        Args:
            content: as JSON holds it.
            file: named in errors.

        Raises:
            InputError: another format, or a key that is missing or wrong (the first is named).
        """
        found = content.get("format") if isinstance(content, dict) else None
        if found != cls.FORMAT:
            raise InputError(
                f"expected format {cls.FORMAT!r}, found {found!r}{cls.OTHER_FORMAT}",
                file=file,
                key="format",
            )
        try:
            return cls.model_validate(content)
        except ValidationError as err:
            first = err.errors()[0]
            text = f"{first['msg'].removeprefix('Value error, ')}, found {first['input']!r}"
            if first["type"] == "missing":
                text = "the key is missing"
            key = ".".join(str(part) for part in first["loc"]) or None
            raise InputError(text, file=file, key=key) from err

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read a file.

        Raises:
            InputError: missing, empty or not JSON; see `of`.
        """
        return cls.of(read_json(path), path)

    @classmethod
    def write(cls, path: str | Path, content: dict[str, Any]) -> Path:
        """Write plain data as they are, after they were held against the record.

        Raises:
            InputError: see `of`.
            ValueError: NaN or infinity.
        """
        cls.of(content, path)
        return write_json(path, content)

    def plain(self) -> dict[str, Any]:
        """The content as plain data, keys that were not given left out."""
        return self.model_dump(mode="json", exclude_unset=True)
