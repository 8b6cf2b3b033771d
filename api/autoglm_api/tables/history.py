"""What the training rows tell of a row's entity: how often, how long ago, and the means of its numbers.

Nothing of it looks at what is to be predicted, nor at anything that comes later than the row itself.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import accumulate

from pydantic import JsonValue

from autoglm_api.base import Model

from .cells import CellError, as_moment, as_number, as_text, is_missing, quoted
from .columns import EPOCH_ORDINAL

# How many of the entity's latest rows a mean is of; 0 = all.
WINDOWS = (1, 5, 0)
NAN = math.nan


class Past(Model):
    """One entity's training rows, by time where there is one: when, and the numbers of each; None = missing."""

    times: tuple[float, ...] = ()
    rows: tuple[tuple[float | None, ...], ...]

    @cached_property
    def _sums(self) -> tuple[list[float], ...]:
        """Of each number, over the first 0, 1, 2 … rows."""
        return tuple(_running(row[place] or 0.0 for row in self.rows) for place in range(self._width))

    @cached_property
    def _counts(self) -> tuple[list[float], ...]:
        """How many of the first 0, 1, 2 … rows have each number."""
        return tuple(_running(float(row[place] is not None) for row in self.rows) for place in range(self._width))

    @property
    def _width(self) -> int:
        return len(self.rows[0])

    def mean(self, place: int, rows: int, window: int, own: float = NAN) -> float:
        """Mean of a number over the last `window` of the first `rows` rows (0 = all), but for one that is `own`."""
        first = max(0, rows - window) if window else 0
        total = self._sums[place][rows] - self._sums[place][first]
        count = self._counts[place][rows] - self._counts[place][first]
        if not math.isnan(own):
            total, count = total - own, count - 1
        return total / count if count > 0 else NAN


class History(Model):
    """The training rows of every entity.

    With a time, a row's past are the training rows of its entity that are earlier: training rows, held-out rows and
    served rows alike. Without one it is all training rows of its entity but itself.

    Attributes:
        entity, time: names of the columns.
        numbers: columns whose means are taken.
    """

    entity: str
    time: str | None
    numbers: tuple[str, ...]
    past: dict[str, Past]

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the numbers that a row becomes: count, days since the last, then the means, window by window."""
        means = [f"{name} ({_told(window)})" for window in self._windows for name in self.numbers]
        return (f"rows of the {self.entity}", *([f"days since its last {self.time}"] if self.time else []), *means)

    @property
    def _windows(self) -> tuple[int, ...]:
        return WINDOWS if self.time else (0,)

    def read(self, entity: JsonValue, time: JsonValue, own: Sequence[float] | None = None) -> tuple[float, ...]:
        """The numbers of a row.

        Args:
            entity: the cell that names the entity.
            time: the cell that says when.
            own: the row's own numbers if it is one of the training rows; needed where there is no time.

        Raises:
            CellError: `time` is neither a moment nor a number.
        """
        past = None if is_missing(entity) else self.past.get(as_text(entity) or "")
        at = None if self.time is None else time_of(self.time, time)
        if past is None or (self.time is not None and at is None):
            return (0.0, *[NAN] * (len(self.parts) - 1))
        rows = len(past.rows) if at is None else bisect_left(past.times, at)
        since = [] if at is None else [at - past.times[rows - 1] if rows else NAN]
        left_out = [NAN] * len(self.numbers) if own is None or at is not None else own
        means = [
            past.mean(place, rows, window, left_out[place])
            for window in self._windows
            for place in range(len(self.numbers))
        ]
        itself = own is not None and at is None
        return (float(rows - itself), *since, *means)


def time_of(name: str, value: JsonValue) -> float | None:
    """Days since 1970 of a moment, or a number as it is; None where it is missing.

    Raises:
        CellError: neither.
    """
    if is_missing(value):
        return None
    moment = as_moment(value)
    if moment is not None:
        seconds = moment.hour * 3_600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6
        return moment.toordinal() - EPOCH_ORDINAL + seconds / 86_400
    number = as_number(value)
    if number is None:
        raise CellError(f"{name!r} must be a date (2026-11-28) or a number, got {quoted(value)}")
    return number


def _running(numbers: Iterable[float]) -> list[float]:
    return list(accumulate(numbers, initial=0.0))


def _told(window: int) -> str:
    return {0: "mean of its rows", 1: "in its last row"}.get(window, f"mean of its last {window}")
