"""The kinds of columns, each with all that is needed to make numbers of its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, JsonValue

from autoglm_api.base import Model

from .cells import LARGEST, CellError, as_moment, as_number, as_text, as_truth, is_missing, quoted

EPOCH_ORDINAL = 719_163  # of 1970-01-01, as `date.toordinal` counts
NAN = math.nan


class NumberColumn(Model):
    """Numbers.

    Attributes:
        levels: its values where they are few whole ones, which may as well be categories.
        blanks: words that stand in the training rows where nothing is known: `-`, `unknown`.
    """

    kind: Literal["number"] = "number"
    name: str
    levels: tuple[int, ...] = ()
    blanks: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the numbers that a cell becomes."""
        return (self.name,)

    def read(self, value: JsonValue) -> tuple[float, ...]:
        """The number; NaN where it is missing.

        Raises:
            CellError: it is something else, or too large.
        """
        if is_missing(value):
            return (NAN,)
        number = as_number(value)
        if number is not None:
            return (number,)
        if self.blanks and as_text(value) in self.blanks:
            return (NAN,)
        limit = f", at most {LARGEST:g}" if isinstance(value, int | float) and not isinstance(value, bool) else ""
        raise CellError(f"{self.name!r} must be a number as in the training rows{limit}, got {quoted(value)}")


class BooleanColumn(Model):
    """Truths: `true` and `false`, in any case of letters."""

    kind: Literal["boolean"] = "boolean"
    name: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the numbers that a cell becomes."""
        return (self.name,)

    def read(self, value: JsonValue) -> tuple[float, ...]:
        """1 or 0; NaN where it is missing.

        Raises:
            CellError: it is something else.
        """
        if is_missing(value):
            return (NAN,)
        truth = as_truth(value)
        if truth is None:
            raise CellError(f"{self.name!r} must be true or false as in the training rows, got {quoted(value)}")
        return (truth,)


class CategoryColumn(Model):
    """Words, the most frequent first.

    Attributes:
        values: those that are known; a cell becomes the place of its value here, and `len(values)` if it is none.
        shares: of the training rows that have each.
    """

    kind: Literal["category"] = "category"
    name: str
    values: tuple[str, ...]
    shares: tuple[float, ...]

    @cached_property
    def _places(self) -> Mapping[str, float]:
        return {value: float(place) for place, value in enumerate(self.values)}

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the numbers that a cell becomes."""
        return (self.name,)

    def read(self, value: JsonValue) -> tuple[float, ...]:
        """The value's place; NaN where it is missing.

        Raises:
            CellError: it is a list or an object.
        """
        if is_missing(value):
            return (NAN,)
        text = as_text(value)
        if text is None:
            raise CellError(f"{self.name!r} must be a text, a number or a boolean, got {quoted(value)}")
        return (self._places.get(text, float(len(self.values))),)


class MomentColumn(Model):
    """Dates, or dates with a time of day (`hours`).

    A cell becomes days since 1970, and where it stands in year, week and day, each as sine and cosine, so that December
    is next to January.
    """

    kind: Literal["moment"] = "moment"
    name: str
    hours: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the numbers that a cell becomes."""
        cycles = ("year", "week", "day") if self.hours else ("year", "week")
        turns = [f"{self.name} ({wave} of the {cycle})" for cycle in cycles for wave in ("sine", "cosine")]
        return (f"{self.name} (days)", *turns)

    def read(self, value: JsonValue) -> tuple[float, ...]:
        """The numbers; all NaN where the cell is missing.

        Raises:
            CellError: it is no date.
        """
        if is_missing(value):
            return (NAN,) * len(self.parts)
        moment = as_moment(value)
        if moment is None:
            raise CellError(f"{self.name!r} must be a date as in the training rows (2026-11-28), got {quoted(value)}")
        day = (moment.hour * 3_600 + moment.minute * 60 + moment.second) / 86_400
        days = moment.toordinal() - EPOCH_ORDINAL + day
        turns = [moment.timetuple().tm_yday / 366, (moment.weekday() + day) / 7, *([day] if self.hours else [])]
        waves = [wave(2 * math.pi * turn) for turn in turns for wave in (math.sin, math.cos)]
        return (days, *waves)


ColumnKind = Annotated[NumberColumn | BooleanColumn | CategoryColumn | MomentColumn, Field(discriminator="kind")]
