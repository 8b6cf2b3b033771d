"""The base of every model here: frozen, camelCase outside, and strict about fields nobody knows."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

# Strict members keep a choice exactly as it was written: `1` stays an int, `true` a bool, `"1"` a string.
Scalar = Annotated[
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True, allow_inf_nan=False)]
    | Annotated[str, Field(strict=True, max_length=1024)],
    Field(union_mode="left_to_right"),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$", max_length=63)]


class Model(BaseModel):
    """A frozen value; unknown fields are an error, and both camelCase and snake_case are read."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    def to_json_dict(self) -> dict[str, object]:
        """The value as it is written in YAML: camelCase, without fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)
