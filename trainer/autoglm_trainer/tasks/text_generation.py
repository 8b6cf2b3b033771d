"""`text-generation`: an answer in words, as the training rows answer their prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from autoglm_api.base import Scalar
from autoglm_api.catalog.text_generation import TEXT_GENERATION
from autoglm_api.generation import PromptFrame
from autoglm_api.run import Run
from autoglm_trainer.baselines.nearest import nearest_answers
from autoglm_trainer.contract import Places
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats
from autoglm_trainer.model.base import BaseModel, load_model
from autoglm_trainer.model.network import VocabularyHead
from autoglm_trainer.predictions.answers import WrittenAnswers
from autoglm_trainer.rows.prompts import Answered, load_prompts
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.tokens.examples import Examples, Tokens
from autoglm_trainer.tokens.prompts import Conversations
from autoglm_trainer.tuning.task import LATENCY
from autoglm_trainer.tuning.writing import LoadedWriting, WritingSettings


class TextGeneration:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedWriting:
        """Read rows, then the model; see `contract.Task`."""
        splits = load_prompts(run.data, places.data, seed=run.sampler.seed)
        base = load_model(run.model, places, writes=True)
        conversations = Conversations(base, splits)
        conversations.check()
        problem = AnsweredPrompts(splits, conversations)
        return LoadedWriting(problem, base, run.objective.metric, time_every_model=LATENCY in run.judged)


@dataclass
class AnsweredPrompts:
    """Prompts and answers; meets `writing.Writing`."""

    splits: Splits[Answered]
    conversations: Conversations
    declaration = TEXT_GENERATION
    baseline_name = "nearest training prompt"
    labels: tuple[str, ...] = ()

    def settings(self, parameters: Mapping[str, Scalar]) -> WritingSettings:
        """Every knob at a point; lengths as the model can take them, half of them at most for the answer."""
        settings = WritingSettings.of(self.declaration, parameters)
        length = min(settings.max_length, self.conversations.base.max_tokens)
        return replace(
            settings,
            max_length=length,
            max_new_tokens=min(settings.max_new_tokens, length // 2),
            # The model's own output layer learns as the rest of it does.
            head_learning_rate=settings.learning_rate,
        )

    def head(self, base: BaseModel, settings: WritingSettings) -> VocabularyHead:
        """The model's own output layer; `full` alone trains it."""
        return VocabularyHead(self.conversations.writer.output)

    def frame(self, settings: WritingSettings) -> PromptFrame:
        """What stands around every prompt."""
        return self.conversations.frame(settings.max_length, settings.max_new_tokens)

    def prompts(self, split: str, settings: WritingSettings) -> Tokens:
        """What the model reads before it answers each row."""
        return self.conversations.prompts(split, self.frame(settings))

    def examples(self, split: str, settings: WritingSettings) -> Examples:
        """One example a row; the answer's tokens alone are answered."""
        return self.conversations.examples(split, settings.max_length, settings.max_new_tokens)

    def criterion(self, examples: Examples, settings: WritingSettings) -> Loss:
        """Cross-entropy over the tokens of the answers."""
        targets = torch.tensor([token for own in examples.targets for token in own])

        def loss(logits: Tensor) -> Tensor:
            return nn.functional.cross_entropy(
                logits, targets.to(logits.device), label_smoothing=settings.label_smoothing
            )

        return loss

    def text(self, tokens: Sequence[int]) -> str:
        """An answer's tokens in words."""
        text: str = self.conversations.base.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def written(
        self, split: str, rows: Sequence[int], answers: Sequence[str], losses: Floats, *, finite: bool = True
    ) -> WrittenAnswers:
        """The answers to `rows` beside the truth."""
        chosen = [self.splits.by_name[split].rows[row] for row in rows]
        return WrittenAnswers(
            prompts=tuple(row.prompt for row in chosen),
            truth=tuple(row.answer for row in chosen),
            answers=tuple(answers),
            losses=losses,
            finite=finite,
        )

    def baseline(self, split: str) -> WrittenAnswers:
        """The answer of the training prompt that is most like the asked one."""
        rows = self.splits.by_name[split].rows
        known = [(row.prompt, row.answer) for row in self.splits.train]
        answers = nearest_answers(known, [row.prompt for row in rows])
        return self.written(split, range(len(rows)), answers, np.full((len(rows), 2), np.nan))
