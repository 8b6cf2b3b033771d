"""One recipe: asked about rows group by group, measured, saved, exported."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoglm_api.prompting import RECIPE, Recipe
from autoglm_trainer.contract import ExportDescription, SplitName, TrialControl
from autoglm_trainer.errors import Infeasible
from autoglm_trainer.metrics import latency_p95_ms
from autoglm_trainer.predictions.prompted import PromptedAnswers

from .respondent import Response
from .settings import PromptSettings

if TYPE_CHECKING:
    from .loaded import LoadedPrompting

LATENCY = "latency_p95_ms"
# Reports of a trial at most: each is a write to the study's storage.
MOST_STEPS = 64
# A point is given up when the endpoint has refused so many prompts of it and answered none.
_REFUSALS = 8
_ANSWERS, _SETTINGS = "answers.json", "settings.json"
_TIMED_PROMPTS = 8


@dataclass
class FittedPrompt:
    """Meets `contract.FittedModel`."""

    task: LoadedPrompting
    settings: PromptSettings
    recipe: Recipe
    _responses: dict[tuple[str, int], Response] = field(default_factory=dict, repr=False)

    def judge(self, control: TrialControl) -> None:
        """Ask about the validation rows and report as their answers come.

        A step is the same rows in every trial, so pruners compare like with like.
        """
        rows = self.task.judged(self.settings.judged_rows)
        size = -(-len(rows) // MOST_STEPS)
        groups = [rows[start : start + size] for start in range(0, len(rows), size)]
        reported = self._resume(control.resume_from)
        at_once = max(1, self.task.respondent.together // size)
        for start in range(0, len(groups), at_once):
            some = groups[start : start + at_once]
            self._answer("validation", [row for group in some for row in group], control.heartbeat)
            self._check_refusals("validation", min(_REFUSALS, len(rows)))
            for step, group in enumerate(some, start + 1):
                control.heartbeat()
                last = max(step - 1, reported)
                control.checkpoint(last, partial(self._write, step=last))
                if step > reported:
                    seen = group if self.task.item_by_item else rows[: step * size]
                    control.report(step, self._value(seen))

    def _value(self, rows: Sequence[int]) -> float:
        """The objective's metric on some validation rows that are answered."""
        if self.task.metric == LATENCY:
            return float(np.percentile([self._responses["validation", row].seconds for row in rows], 95) * 1_000)
        responses = [self._responses["validation", row] for row in rows]
        return self.task.predictions("validation", rows, responses).measure()[self.task.metric]

    def _resume(self, folder: Path | None) -> int:
        """Take over what a checkpoint holds; the answer is its last reported step."""
        if folder is None:
            return 0
        written = json.loads((folder / _ANSWERS).read_text(encoding="utf-8"))
        for row, response in written["answers"]:
            self._responses["validation", row] = Response(**response)
        step: int = written["step"]
        return step

    def _write(self, folder: Path, step: int) -> None:
        answers = [
            (row, response.to_json()) for (split, row), response in self._responses.items() if split == "validation"
        ]
        (folder / _ANSWERS).write_text(json.dumps({"step": step, "answers": answers}), encoding="utf-8")

    def _answer(self, split: str, rows: Sequence[int], heartbeat: Callable[[], None]) -> None:
        missing = [row for row in rows if (split, row) not in self._responses]
        if not missing:
            return
        responses = self.task.ask(self._prompts(split, missing), self.recipe.decoding, self.recipe.labels, heartbeat)
        self._responses.update(((split, row), response) for row, response in zip(missing, responses, strict=True))

    def _check_refusals(self, split: str, enough: int) -> None:
        """Give up when `enough` prompts were asked and all of them refused; few may all be such as it never answers."""
        refused = [response.refused for (of, _), response in self._responses.items() if of == split]
        if len(refused) >= enough and None not in refused:
            raise Infeasible(f"the endpoint refuses all {len(refused)} prompts of this point: {refused[0]}")

    def _prompts(self, split: str, rows: Sequence[int]) -> list[str]:
        """Whole prompts; one that does not fit without any example keeps its end, as the model reads it."""
        fits = self.task.fitting(self.recipe.decoding)
        chosen = [self.task.splits.by_name[split].rows[row] for row in rows]
        return [self.recipe.ask(row.prompt, fits) for row in chosen]

    def predict(self, split: SplitName) -> PromptedAnswers:
        """What the model answers: to the validation rows that trials are judged by, to all others of other splits."""
        self.task.check_split(split)
        every = range(self.task.row_counts[split])
        rows = sorted(self.task.judged(self.settings.judged_rows)) if split == "validation" else every
        self._answer(split, rows, lambda: None)
        self._check_refusals(split, len(rows))
        (asked,) = self._prompts(split, rows[:1])
        return self.task.predictions(split, rows, [self._responses[split, row] for row in rows], asked)

    def evaluate(self, split: SplitName) -> Mapping[str, float]:
        """All metrics on `split`."""
        return {**self.predict(split).measure(), LATENCY: self._latency(split)}

    def _latency(self, split: str) -> float:
        """95th percentile in milliseconds of one answer at a time, prompt to text.

        Recipes that are alike in what takes time share one measurement, unless the study judges by it.
        """
        if self.task.respondent.times_itself:
            own = [response.seconds for (of, _), response in self._responses.items() if of == split]
            return float(np.percentile(own, 95) * 1_000)
        decoding = self.recipe.decoding
        alike = (split, self.settings.shots, decoding.kind, decoding.num_beams, decoding.max_new_tokens)
        if self.task.time_every_recipe or alike not in self.task.latencies:
            self.task.latencies[alike] = self._time(split)
        return self.task.latencies[alike]

    def _time(self, split: str) -> float:
        prompts = self._prompts(split, range(min(_TIMED_PROMPTS, self.task.row_counts[split])))

        def forward(row: int) -> None:
            self.task.respondent.answer(
                [prompts[row]], self.recipe.decoding, labels=self.recipe.labels, heartbeat=lambda: None
            )

        return latency_p95_ms(forward, len(prompts))

    def save(self, folder: Path) -> None:
        """Write the recipe and the point that it is of."""
        (folder / RECIPE).write_text(self.recipe.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        (folder / _SETTINGS).write_text(json.dumps(self.settings.point, ensure_ascii=False), encoding="utf-8")

    def export(self, folder: Path) -> ExportDescription:
        """Write the recipe, and the model where it is one in memory; see `shipping.ship`."""
        (folder / RECIPE).write_text(self.recipe.model_dump_json(by_alias=True, indent=2) + "\n", encoding="utf-8")
        if self.task.endpoint is None:
            from .shipping import ship

            ship(self, folder)
        return ExportDescription(
            labels=self.recipe.labels,
            max_length=self.task.respondent.max_tokens,
            inputs=(),
            settings=_told(self.recipe),
        )


def _told(recipe: Recipe) -> dict[str, Any]:
    """What a reader of the manifest wants to know at once."""
    return {
        "template": recipe.template,
        "examples": recipe.nearest or len(recipe.examples),
        "decoding": recipe.decoding.kind,
    }
