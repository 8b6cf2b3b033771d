"""How a run looks while it goes on: a live picture at a terminal, plain lines everywhere else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from autoglm_api.run import Run

from .story import View, parameters, results, seconds

QUIET_SECONDS = 30.0


class Progress:
    """Prints what happens; at a terminal it also keeps a picture of the present below.

    Args:
        console: where to; its `is_terminal` decides.
        run: the frozen run, whose objectives name the best values.
        clock: seconds, monotonic.
    """

    def __init__(self, console: Console, run: Run, clock: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self._run = run
        self._clock = clock
        self._live: Live | None = None
        self._spinner = Spinner("dots")
        self._last_line = clock()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            # Drawn by `show` alone: the picture is as old as the last look at the study, and never pretends otherwise.
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def line(self, text: str, style: str = "") -> None:
        """Something happened."""
        self.console.print(Text(text, style=style), soft_wrap=True)
        self._last_line = self._clock()

    def show(self, now: View, activity: str) -> None:
        """The present state; without a terminal a line when nothing was heard for half a minute."""
        if self._live is not None:
            self._live.update(self._picture(now, activity), refresh=True)
        elif self._clock() - self._last_line >= QUIET_SECONDS:
            self.line(self._sentence(now))

    def _picture(self, now: View, activity: str) -> Group:
        tally = now.counts
        head = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(1, now.maximum), completed=tally.finished, width=28)
        states = [
            (tally.running, "running", "cyan"),
            (tally.complete, "complete", "green"),
            (tally.pruned, "pruned", "dim"),
        ]
        states += [(tally.infeasible, "infeasible", "yellow"), (tally.failed, "failed", "red")]
        words = Text("  ").join(Text(f"{count} {name}", style=style) for count, name, style in states if count)
        head.add_row(self._spinner, bar, Text(f"{tally.finished} of {now.maximum}", style="bold"), words)
        below = [Text(f"  {activity}   {self._best(now)}   {self._left(now)}")]
        for training in now.training:
            told = f"    {training.name}   {training.report or 'no report yet'}   {training.point}"
            below.append(Text(told, style="dim", no_wrap=True, overflow="ellipsis"))
        return Group(head, *below)

    def _sentence(self, now: View) -> str:
        reports = ", ".join(f"{training.name} {training.report or 'no report yet'}" for training in now.training)
        running = f"running: {reports}   " if reports else ""
        return (
            f"{now.counts.finished} of {now.maximum} trials   {running}{self._best(now)}   {self._left(now)}".rstrip()
        )

    def _best(self, now: View) -> str:
        if now.best is None:
            return "best: none yet"
        return f"best {results(now.best.values, self._run)}   {parameters(now.best.params)}"

    @staticmethod
    def _left(now: View) -> str:
        return "" if now.eta_seconds is None else f"about {seconds(now.eta_seconds)} left"
