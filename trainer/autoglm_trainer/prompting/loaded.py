"""A model that can be asked and rows to ask it about; every trial makes a recipe, and nothing is trained."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from autoglm_api.base import Scalar
from autoglm_api.catalog.prompt_optimization import BRED, REWRITTEN
from autoglm_api.manifest import DataDigests
from autoglm_api.prompting import LABELS, RECIPE, Decoding, Example, Recipe, Template
from autoglm_api.study import ModelEndpoint
from autoglm_trainer.baselines.nearest import nearest_answers
from autoglm_trainer.contract import SplitName, TrialControl
from autoglm_trainer.errors import DataError, Infeasible
from autoglm_trainer.predictions.prompted import PromptedAnswers
from autoglm_trainer.rows.prompts import Answered
from autoglm_trainer.rows.splits import Splits

from .breeding import LONGEST, breed
from .fitted import FittedPrompt
from .respondent import Respondent, Response
from .settings import PromptSettings
from .shelves import Language, Purpose, Shelf, language_of, rewrite_request, shelf
from .shots import chosen_examples

# Answers are labels where the training rows have few of them, each of them often.
MOST_LABELS, ROWS_A_LABEL = 64, 4
LONGEST_ANSWER = 512
SETTINGS = "settings.json"
_SAMPLED_TEXTS = 200


@dataclass
class LoadedPrompting:
    """Model and rows in memory; meets `contract.LoadedTask` and `contract.Derives`.

    Attributes:
        metric: the objective's.
        item_by_item: whether a report is of its own rows alone, as Wilcoxon's test wants it, or of all rows so far.
        time_every_recipe: whether the study judges by latency.
        endpoint: who answers, where it is not a model in memory.
    """

    splits: Splits[Answered]
    respondent: Respondent
    metric: str
    seed: int
    item_by_item: bool = False
    time_every_recipe: bool = False
    endpoint: ModelEndpoint | None = None
    latencies: dict[tuple[object, ...], float] = field(default_factory=dict)
    _answered: dict[bytes, Response] = field(default_factory=dict, repr=False)
    baseline_name = "nearest training prompt"

    def __post_init__(self) -> None:
        answers = [row.answer for row in self.splits.train]
        different = sorted(set(answers))
        few = len(different) <= MOST_LABELS and ROWS_A_LABEL * len(different) <= len(answers)
        self.labels: tuple[str, ...] = tuple(different) if few else ()
        self.pool = [Example(prompt=row.prompt, answer=row.answer) for row in self.splits.train]
        self.language = language_of([row.prompt for row in self.splits.train.rows[:_SAMPLED_TEXTS]])
        self.longest_answer = min(LONGEST_ANSWER, self.respondent.answer_tokens(answers))

    @property
    def digests(self) -> DataDigests:
        """Digests of the rows as read."""
        return self.splits.digests

    @property
    def has_test(self) -> bool:
        """Whether the study named test rows."""
        return "test" in self.splits.counts

    @property
    def row_counts(self) -> Mapping[str, int]:
        """Rows by split."""
        return self.splits.counts

    def overlap(self, split: SplitName) -> int:
        """How many rows of `split` also stand in the training rows."""
        self.check_split(split)
        return self.splits.overlap(split)

    def check_split(self, split: str) -> None:
        """Refuse a split without rows.

        Raises:
            DataError: the study names none.
        """
        if split not in self.splits.counts:
            raise DataError(f"data.{split}: the study names no {split} rows; add data.{split}.source")

    def baseline(self, split: SplitName) -> PromptedAnswers:
        """The answer of the training prompt that is most like the asked one."""
        self.check_split(split)
        rows = self.splits.by_name[split].rows
        known = [(row.prompt, row.answer) for row in self.splits.train]
        answers = nearest_answers(known, [row.prompt for row in rows])
        return self.predictions(split, range(len(rows)), [Response(each, float("nan"), 0.0) for each in answers])

    def predictions(
        self, split: str, rows: Sequence[int], responses: Sequence[Response], asked: str = ""
    ) -> PromptedAnswers:
        """The responses to `rows` beside the truth; `asked` is the first one's whole prompt."""
        chosen = [self.splits.by_name[split].rows[row] for row in rows]
        return PromptedAnswers(
            prompts=tuple(row.prompt for row in chosen),
            truth=tuple(row.answer for row in chosen),
            answers=tuple(response.text for response in responses),
            labels=self.labels,
            prompt_tokens=np.array([response.prompt_tokens for response in responses]),
            asked=asked,
        )

    def judged(self, most: int) -> list[int]:
        """The validation rows that trials are judged by, in the order in which all of them are asked."""
        count = len(self.splits.validation)
        rows = list(range(0, count, -(-count // most)))
        random.Random(self.seed).shuffle(rows)
        return rows

    def fit(self, parameters: Mapping[str, Scalar], control: TrialControl) -> FittedPrompt:
        """Ask the model about the validation rows."""
        if parameters.get("template") in (BRED, REWRITTEN):
            parameters = {**parameters, **self.derive(parameters, best=(), tried=(), seed=control.seed)}
        settings = PromptSettings.of(parameters)
        fitted = FittedPrompt(self, settings, self.recipe(settings, control.seed))
        fitted.judge(control)
        return fitted

    def restore(self, parameters: Mapping[str, Scalar], folder: Path) -> FittedPrompt:
        """The recipe that `save` wrote.

        Raises:
            DataError: the rows have other labels now.
        """
        recipe = Recipe.model_validate_json((folder / RECIPE).read_bytes())
        written = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if recipe.labels and recipe.labels != self.labels:
            raise DataError(
                f"data.train: the labels are now {list(self.labels)[:20]}, the saved recipe has"
                f" {list(recipe.labels)[:20]}; the rows changed while the study ran, start a new study"
            )
        return FittedPrompt(self, PromptSettings.of({**written, **parameters}), recipe)

    def recipe(self, settings: PromptSettings, seed: int) -> Recipe:
        """Everything between a question and its answer at a point.

        Raises:
            Infeasible: there are no labels to classify by.
        """
        purpose = self._purpose(settings)
        if purpose == "classification" and not self.labels:
            raise Infeasible(
                f"purpose classification needs answers that are labels: at most {MOST_LABELS} different ones, each in"
                f" {ROWS_A_LABEL} training rows or more on average"
            )
        labels = self.labels if purpose == "classification" else ()
        examples, nearest = chosen_examples(
            self.pool, settings.shots, settings.selection, labelled=bool(labels), seed=seed
        )
        drawn = settings.decoding == "sample"
        decoding = Decoding(
            kind=settings.decoding,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            repetition_penalty=settings.repetition_penalty,
            num_beams=settings.num_beams if settings.decoding == "beams" else 1,
            max_new_tokens=settings.max_new_tokens or self.longest_answer,
            seed=seed if drawn else 0,
        )
        return Recipe(
            template=self._text(settings),
            labels=labels,
            examples=examples,
            nearest=nearest,
            decoding=decoding,
            endpoint=self.endpoint,
        )

    def derive(
        self,
        parameters: Mapping[str, Scalar],
        *,
        best: Sequence[Mapping[str, Scalar]],
        tried: Sequence[Mapping[str, Scalar]],
        seed: int,
    ) -> Mapping[str, Scalar]:
        """The text of a template that is bred from the best so far, or is the best one in the model's own words."""
        kind = parameters.get("template")
        if kind not in (BRED, REWRITTEN):
            return {}
        settings = PromptSettings.of(parameters)
        shelf = self._shelf(settings)
        ranked = [text for point in best if (text := self._known_text(point)) is not None]
        known = {text for point in tried if (text := self._known_text(point)) is not None}
        if kind == REWRITTEN:
            parent = ranked[0] if ranked else shelf.templates["plain"]
            rewritten = self._rewritten(Template.read(parent), self._language(settings), seed)
            if rewritten is not None and rewritten not in known:
                return {"template": rewritten}
        return {"template": breed(ranked, shelf, known=known, seed=seed)}

    def _rewritten(self, parent: Template, language: Language, seed: int) -> str | None:
        """The parent with its instruction in the model's words; None where these are of no use."""
        if not parent.instruction:
            return None
        decoding = Decoding(kind="sample", temperature=0.9, max_new_tokens=200, seed=seed)
        asked = f"{rewrite_request(language)}\n\n{parent.instruction}"
        try:
            if not self.respondent.fits(asked, decoding.max_new_tokens):
                return None
        except Infeasible:
            return None
        (response,) = self.respondent.answer([asked], decoding, labels=(), heartbeat=lambda: None)
        text = response.text.strip()
        lost = LABELS in parent.instruction and LABELS not in text
        if not text or lost or "{prompt}" in text or "\n\n" in text or len(text) > LONGEST - len(parent.block) - 2:
            return None
        return str(Template(text, parent.block))

    def ask(
        self, prompts: Sequence[str], decoding: Decoding, labels: Sequence[str], heartbeat: Callable[[], None]
    ) -> list[Response]:
        """Responses to whole prompts; none is asked for twice in one process."""
        told = f"{decoding.model_dump_json()}{list(labels)}"
        keys = [hashlib.sha256(f"{told}{prompt}".encode()).digest() for prompt in prompts]
        missing = {key: prompt for key, prompt in zip(keys, prompts, strict=True) if key not in self._answered}
        if missing:
            found = self.respondent.answer([*missing.values()], decoding, labels=labels, heartbeat=heartbeat)
            self._answered.update(zip(missing, found, strict=True))
        return [self._answered[key] for key in keys]

    def fitting(self, decoding: Decoding) -> Callable[[str], bool]:
        """Whether a prompt and its answer find room in the model."""
        return lambda prompt: self.respondent.fits(prompt, decoding.max_new_tokens)

    def _purpose(self, settings: PromptSettings) -> Purpose:
        if settings.purpose == "auto":
            return "classification" if self.labels else "answering"
        return cast("Purpose", settings.purpose)

    def _language(self, settings: PromptSettings) -> Language:
        return self.language if settings.language == "auto" else cast("Language", settings.language)

    def _shelf(self, settings: PromptSettings) -> Shelf:
        return shelf(self._purpose(settings), self._language(settings))

    def _text(self, settings: PromptSettings) -> str:
        return str(Template.read(self._shelf(settings).templates.get(settings.template, settings.template)))

    def _known_text(self, point: Mapping[str, Scalar]) -> str | None:
        """The template of a point that has one; a trial that is only just being claimed has not."""
        settings = PromptSettings.of(point)
        names: Collection[str] = (BRED, REWRITTEN)
        return None if settings.template in names else self._text(settings)
