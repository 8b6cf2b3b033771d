"""`question-answering`: the stretch of a context that answers a question, or that there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tokenizers import Encoding, Tokenizer
from torch import Tensor, nn

from autoglm_api.base import Scalar
from autoglm_api.catalog.question_answering import QUESTION_ANSWERING
from autoglm_api.run import Run
from autoglm_api.spans import choose, read_window
from autoglm_trainer.baselines.word_overlap import answer_by_overlap, rarity
from autoglm_trainer.contract import ExportDescription, Places
from autoglm_trainer.errors import DataError
from autoglm_trainer.methods import Loss
from autoglm_trainer.metrics import Floats
from autoglm_trainer.model.base import BaseModel, load_model
from autoglm_trainer.model.graph import INPUTS, Activation
from autoglm_trainer.model.network import TokenHead
from autoglm_trainer.predictions.spans import SpanPredictions
from autoglm_trainer.rows.questions import Question, load_questions, may_be_absent
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.tokens.examples import Examples
from autoglm_trainer.tokens.pairs import Reading, answered, pair_tokenizer, target, windowed
from autoglm_trainer.tuning.settings import Settings
from autoglm_trainer.tuning.task import LATENCY, LoadedTuned


@dataclass(frozen=True)
class SpanSettings(Settings):
    """The task's own knobs.

    Attributes:
        stride: tokens that neighbouring windows of a context share; at most a quarter of `max_length`.
        max_answer_tokens: the longest answer.
        no_answer_threshold: how much surer of no answer than of the best one it must be to say so, in logits.
    """

    stride: int
    max_answer_tokens: int
    no_answer_threshold: float


class QuestionAnswering:
    """The task."""

    def load(self, run: Run, places: Places) -> LoadedTuned:
        """Read rows, then the model; see `contract.Task`."""
        splits = load_questions(run.data, places.data, seed=run.sampler.seed)
        base = load_model(run.model, places)
        problem = AnsweredQuestions(splits, base)
        problem.check()
        return LoadedTuned(problem, base, run.objective.metric, time_every_model=LATENCY in run.judged)


@dataclass
class AnsweredQuestions:
    """Questions, contexts and answers; meets `problem.Problem`."""

    splits: Splits[Question]
    base: BaseModel
    declaration = QUESTION_ANSWERING
    baseline_name = "word overlap"
    labels: tuple[str, ...] = ()
    _tokenizer: Tokenizer = field(init=False, repr=False)
    _kept: dict[tuple[str, int, int], tuple[Examples, list[Encoding]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self._tokenizer = pair_tokenizer(self.base)

    def check(self) -> None:
        """Refuse contexts of which the tokenizer keeps nothing.

        Raises:
            DataError: naming source, line and text.
        """
        for rows in self.splits.by_name.values():
            contexts = list(dict.fromkeys(row.context for row in rows.rows))
            known = dict(zip(contexts, self._tokenizer.encode_batch(contexts, add_special_tokens=False), strict=True))
            for row in rows.rows:
                if not known[row.context].ids:
                    raise DataError(
                        f"{rows.where(row)}: the model's tokenizer keeps nothing of {row.context[:60]!r};"
                        " drop the row, or use a model that knows its script"
                    )

    def settings(self, parameters: Mapping[str, Scalar]) -> SpanSettings:
        """Every knob at a point."""
        return SpanSettings.of(self.declaration, parameters)

    def head(self, base: BaseModel, settings: SpanSettings) -> TokenHead:
        """Two logits a token: the answer's first, and its last."""
        return TokenHead(base.hidden_size, 2, dropout=settings.dropout)

    def examples(self, split: str, settings: SpanSettings) -> Examples:
        """One example a window; only the context's tokens and the window's end are answered."""
        return self._windows(split, settings)[0]

    def _windows(self, split: str, settings: SpanSettings) -> tuple[Examples, list[Encoding]]:
        length = min(settings.max_length, self.base.max_tokens)
        key = (split, length, settings.stride)
        if key not in self._kept:
            self._kept[key] = self._read(split, length, settings.stride)
        return self._kept[key]

    def _read(self, split: str, length: int, stride: int) -> tuple[Examples, list[Encoding]]:
        reading = Reading(windowed(self._tokenizer, length, stride), length)
        rows = self.splits.by_name[split].rows
        found = [(item, encoding) for item, row in enumerate(rows) for encoding in reading.windows(row)]
        positions = [answered(encoding) for _, encoding in found]
        return Examples(
            key=(split, length, stride),
            tokens=tuple(tuple(encoding.ids) for _, encoding in found),
            items=tuple(item for item, _ in found),
            targets=tuple(
                target(encoding, places, rows[item]) for (item, encoding), places in zip(found, positions, strict=True)
            ),
            positions=tuple(positions),
        ), [encoding for _, encoding in found]

    def criterion(self, examples: Examples, settings: SpanSettings) -> Loss:
        """Cross-entropy over the places of each window, of the first and of the last token."""
        sizes = torch.tensor(examples.sizes)
        rows = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        columns = torch.cat([torch.arange(size) for size in examples.sizes])
        targets = torch.tensor(examples.targets)

        def loss(logits: Tensor) -> Tensor:
            padded = logits.new_full((len(sizes), int(sizes.max()), 2), -torch.inf)
            padded[rows, columns] = logits
            return nn.functional.cross_entropy(padded, targets.to(logits.device))

        return loss

    def predictions(
        self, split: str, settings: SpanSettings, rows: Sequence[int], examples: Examples, logits: Sequence[Floats]
    ) -> SpanPredictions:
        """The best span over all windows of each row."""
        everything, encodings = self._windows(split, settings)
        wanted = everything.of(rows) if len(examples) != len(everything) else range(len(everything))
        windows: dict[int, list[tuple[Encoding, tuple[int, ...], Floats, float]]] = defaultdict(list)
        for index, own in zip(wanted, logits, strict=True):
            assert everything.positions is not None, "spans are answered token by token"
            lost = _loss(own, everything.targets[index])
            windows[everything.items[index]].append((encodings[index], everything.positions[index], own, lost))
        answers, confidence, losses = [], [], []
        for row in rows:
            answer, sure = self._answer(self.splits.by_name[split].rows[row].context, windows[row], settings)
            answers.append(answer)
            confidence.append(sure)
            losses.append(float(np.mean([lost for *_, lost in windows[row]])))
        return self._predictions(split, rows, answers, confidence, losses)

    def _answer(
        self,
        context: str,
        windows: Sequence[tuple[Encoding, tuple[int, ...], Floats, float]],
        settings: SpanSettings,
    ) -> tuple[str, float]:
        if not all(np.isfinite(logits).all() for _, _, logits, _ in windows):
            return "", float("nan")
        read = [
            read_window(logits[:, 0].tolist(), logits[:, 1].tolist(), settings.max_answer_tokens)
            for _, _, logits, _ in windows
        ]
        chosen = choose(read, may_be_absent=may_be_absent(self.splits), threshold=settings.no_answer_threshold)
        if chosen is None:
            return "", min(window.absent_probability for window in read)
        index, span = chosen
        encoding, places, _, _ = windows[index]
        start, end = encoding.offsets[places[span.first]][0], encoding.offsets[places[span.last]][1]
        return context[start:end].strip(), span.probability

    def baseline(self, split: str) -> SpanPredictions:
        """The newest words of the sentence most like the question."""
        weights = rarity([row.context for row in self.splits.train])
        rows = self.splits.by_name[split].rows
        found = [answer_by_overlap(row.question, row.context, weights) for row in rows]
        nothing = [float("nan")] * len(rows)
        return self._predictions(split, range(len(rows)), [a for a, _ in found], [s for _, s in found], nothing)

    def _predictions(
        self,
        split: str,
        chosen: Sequence[int],
        answers: Sequence[str],
        confidence: Sequence[float],
        losses: Sequence[float],
    ) -> SpanPredictions:
        rows = [self.splits.by_name[split].rows[row] for row in chosen]
        return SpanPredictions(
            questions=tuple(row.question for row in rows),
            truth=tuple(row.answer for row in rows),
            answers=tuple(answers),
            confidence=np.array(confidence, dtype=np.float64),
            losses=np.array(losses, dtype=np.float64),
        )

    def activation(self, settings: SpanSettings) -> Activation:
        """Spans are chosen by logits."""
        return Activation.NONE

    def describe(self, base: BaseModel, settings: SpanSettings) -> ExportDescription:
        """Windows, thresholds, and the tokenizer that cuts as in training."""
        length = min(settings.max_length, base.max_tokens)
        return ExportDescription(
            labels=(),
            max_length=length,
            inputs=INPUTS,
            settings={
                "max_answer_tokens": settings.max_answer_tokens,
                "no_answer_threshold": settings.no_answer_threshold,
                "may_be_absent": may_be_absent(self.splits),
            },
            tokenizer=windowed(self._tokenizer, length, settings.stride),
        )


def _loss(logits: Floats, targets: tuple[int, ...]) -> float:
    """Mean cross-entropy of first and last token in one window, (places, 2)."""
    if not np.isfinite(logits).all():
        return float("nan")
    shifted = logits - logits.max(axis=0)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=0))
    return float(-np.mean([log_probabilities[place, side] for side, place in enumerate(targets)]))
