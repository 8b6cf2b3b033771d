"""What a benchmark found, as a table: figures, ratios, aims, and whether each aim was met."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

Bound = Literal["at least", "at most"]


@dataclass(frozen=True)
class Aim:
    """What a figure should be."""

    bound: Bound
    value: float

    def is_met_by(self, figure: float) -> bool:
        """Whether `figure` is on the right side; the bound itself is."""
        return figure >= self.value if self.bound == "at least" else figure <= self.value

    @override
    def __str__(self) -> str:
        return f"{'≥' if self.bound == 'at least' else '≤'} {self.value:.3g}"


@dataclass(frozen=True)
class Row:
    """One figure. `unit` is written behind it: `ms`, `s`, `x` for a ratio."""

    what: str
    figure: float
    unit: str
    aim: Aim | None = None

    @property
    def met(self) -> bool | None:
        """Whether the aim was met; None without an aim."""
        return None if self.aim is None else self.aim.is_met_by(self.figure)


@dataclass(frozen=True)
class Table:
    """A benchmark's result; `notes` say what was counted, how many samples, and what favours whom."""

    name: str
    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def markdown(self) -> str:
        """For a terminal and for the documentation alike."""
        lines = [f"### {self.title}", "", "| | measured | aim | |", "|---|---:|---:|---|"]
        for row in self.rows:
            aim = f"{row.aim} {row.unit}" if row.aim else ""
            verdict = {True: "met", False: "**missed**", None: ""}[row.met]
            lines.append(f"| {row.what} | {row.figure:,.{_digits(row.figure)}f} {row.unit} | {aim} | {verdict} |")
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "rows": [{**asdict(row), "met": row.met} for row in self.rows]}


def times(larger: float, smaller: float) -> float:
    """How many times `smaller` fits into `larger`.

    Raises:
        ValueError: one of the two is not positive, so there is nothing to compare.
    """
    if larger <= 0 or smaller <= 0:
        raise ValueError(f"a ratio needs two positive figures, got {larger:g} and {smaller:g}")
    return larger / smaller


def per_hour(trials: int, start_seconds: float, trial_seconds: float) -> float:
    """Trials an hour of a process that starts once and then runs `trials` one after another."""
    return 3_600 * trials / (start_seconds + trials * trial_seconds)


def percentile(figures: Sequence[float], share: float) -> float:
    """The nearest-rank percentile; `share` 0.5 is the median.

    Raises:
        ValueError: there are no figures.
    """
    if not figures:
        raise ValueError("no figures: not one trial was measured")
    return sorted(figures)[min(len(figures) - 1, int(share * len(figures)))]


def machine() -> dict[str, Any]:
    """Where the figures were taken, and how busy it was."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _digits(figure: float) -> int:
    size = abs(figure)
    return 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
