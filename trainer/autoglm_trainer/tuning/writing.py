"""A tuned model that writes its answers: measured by what it writes, and exported as an ordinary causal model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from autoglm_api.generation import PROMPT, PromptFrame, batches
from autoglm_trainer.contract import ExportDescription, SplitName
from autoglm_trainer.errors import ExportError
from autoglm_trainer.metrics import Floats, latency_p95_ms
from autoglm_trainer.model.graph import HALF_TOLERANCE, TOLERANCE
from autoglm_trainer.model.network import Network, VocabularyHead
from autoglm_trainer.model.writer import Writer
from autoglm_trainer.predictions.answers import WrittenAnswers
from autoglm_trainer.tokens.examples import Examples, Tokens, by_length, collate

from .problem import Learning
from .settings import Settings
from .task import LATENCY, REPORT_ROWS, FittedTuned, LoadedTuned

# Writing takes a pass through the model for every token, so reports while training look at few rows.
WRITTEN_ROWS = 64
_FROM_LOSSES = ("loss", "perplexity")
# Examples a pass without gradients; every answered token has as many logits as the vocabulary has tokens.
_LOSS_BATCH = 8
_TIMED_ROWS = 8
_CHECKED_EXAMPLES = 8


@dataclass(frozen=True)
class WritingSettings(Settings):
    """How answers are written.

    Attributes:
        max_new_tokens: the longest answer, in tokens; at most half of `max_length`.
        num_beams: beginnings of an answer that are followed at once; 1 = always the likeliest token.
        repetition_penalty: divides the odds of tokens that stand there already; 1 = none.
    """

    max_new_tokens: int
    num_beams: int
    repetition_penalty: float


class Writing(Learning, Protocol):
    """A problem whose answers are written."""

    @override
    def examples(self, split: str, settings: Any) -> Examples:
        """The rows of a split as token ids."""

    def frame(self, settings: Any) -> PromptFrame:
        """What stands around every prompt."""

    def prompts(self, split: str, settings: Any) -> Tokens:
        """What the model reads before it answers each row."""

    def text(self, tokens: Sequence[int]) -> str:
        """An answer's tokens in words."""

    def written(
        self, split: str, rows: Sequence[int], answers: Sequence[str], losses: Floats, *, finite: bool
    ) -> WrittenAnswers:
        """The answers to `rows` beside the truth; `losses` as `WrittenAnswers` has them."""


class LoadedWriting(LoadedTuned[Writing]):
    """Model and rows in memory."""

    @override
    def fitted(self, settings: Any, network: Network | None, weights: dict[str, Tensor]) -> FittedWriting:
        return FittedWriting(self, settings, network, weights)


@dataclass
class FittedWriting(FittedTuned):
    """A trained model that writes."""

    _answers: dict[str, WrittenAnswers] = field(default_factory=dict, repr=False)

    @property
    def writing(self) -> Writing:
        """The task's own part."""
        writing: Writing = self.task.problem
        return writing

    @property
    def writer(self) -> Writer:
        """The whole model around the shared backbone."""
        writer: Writer | None = self.task.base.writer
        assert writer is not None, "the task loads a model that writes"
        return writer

    @override
    def measure_now(self, metric: str, *, trained: bool) -> float:
        """`metric` with the weights as they are: of 64 written answers, or by loss of 1,000 rows, of validation.

        With `trained` on all rows, as in `FittedTuned`.
        """
        if metric == LATENCY:
            return self.latency("validation")
        if trained:
            return self.predict("validation").measure()[metric]
        count, most = self.task.row_counts["validation"], REPORT_ROWS if metric in _FROM_LOSSES else WRITTEN_ROWS
        rows = range(0, count, -(-count // most))
        return self._measured("validation", rows, write=metric not in _FROM_LOSSES).measure()[metric]

    @override
    def predict(self, split: SplitName) -> WrittenAnswers:
        """What the model writes for each row; computed once."""
        self.task.check_split(split)
        if split not in self._answers:
            self._answers[split] = self._measured(split, range(self.task.row_counts[split]), write=True)
        return self._answers[split]

    def _measured(self, split: str, rows: Sequence[int], *, write: bool) -> WrittenAnswers:
        examples = self.writing.examples(split, self.settings)
        losses = losses_of(self.network, examples.take(examples.of(rows)), self.task.base.pad_id)
        finite = bool(np.isfinite(losses).all())
        prompts = self.writing.prompts(split, self.settings)
        answers = self.write([prompts[row] for row in rows]) if write and finite else [""] * len(rows)
        return self.writing.written(split, rows, answers, losses, finite=finite)

    def write(self, prompts: Sequence[Sequence[int]]) -> list[str]:
        """An answer to each prompt; always the same."""
        frame, settings = self.writing.frame(self.settings), self.settings
        device, found = self.task.base.device, dict[int, str]()
        with self._ready() as model:
            for chosen in batches([*map(len, prompts)], penalised=settings.repetition_penalty != 1):
                ids, mask = frame.pad_left([prompts[index] for index in chosen])
                read = torch.tensor(ids, device=device)
                with torch.autocast(device.type, self.task.base.half, enabled=not self.task.base.is_float32):
                    written = model.generate(read, attention_mask=torch.tensor(mask, device=device))
                for index, tokens in zip(chosen, written[:, read.shape[1] :].tolist(), strict=True):
                    found[index] = self.writing.text(frame.answer(tokens)[0])
        return [found[index] for index in range(len(prompts))]

    @contextmanager
    def _ready(self) -> Iterator[Any]:
        """The whole model with this one's weights and settings."""
        self.network.eval()
        model, settings = self.writer.model, self.settings
        config = model.generation_config
        config.max_new_tokens, config.num_beams = settings.max_new_tokens, settings.num_beams
        config.repetition_penalty = settings.repetition_penalty
        with torch.no_grad():
            yield model

    @override
    def latency(self, split: str) -> float:
        """95th percentile in milliseconds of one answer at a time, tokens to tokens.

        Trials that write alike share one measurement, unless the study judges by it.
        """
        settings = self.settings
        network = (split, settings.max_length, settings.max_new_tokens, settings.num_beams)
        if self.task.time_every_model or network not in self.task.latencies:
            self.task.latencies[network] = self._served_time(split)
        return self.task.latencies[network]

    @override
    def _time(self, split: str) -> float:
        prompts = self.writing.prompts(split, self.settings)
        self.network.eval()
        # Adapters are merged before they serve, so they are not part of what is measured.
        with self.task.base.without_adapters():
            return latency_p95_ms(lambda row: self.write([prompts[row]]), min(_TIMED_ROWS, len(prompts)))

    @override
    def export(self, folder: Path) -> ExportDescription:
        """Write what `AutoModelForCausalLM` and `AutoTokenizer` load, and check what it answers.

        Raises:
            ExportError: it answers differently.
        """
        merged = self._merged()
        with self._ready() as model:
            save_whole(model, merged, folder, dtype=next(self.task.base.backbone.parameters()).dtype)
        self.writer.tokenizer.save_pretrained(folder)
        frame = self.writing.frame(self.settings)
        (folder / PROMPT).write_text(frame.model_dump_json(by_alias=True) + "\n", encoding="utf-8")
        self._check(folder)
        return ExportDescription(
            labels=(),
            max_length=self.settings.max_length,
            inputs=(),
            settings={
                "max_new_tokens": self.settings.max_new_tokens,
                "num_beams": self.settings.num_beams,
                "repetition_penalty": self.settings.repetition_penalty,
            },
        )

    def _check(self, folder: Path) -> None:
        """Compare the losses of some answers under the exported model with ours."""
        from transformers import AutoModelForCausalLM

        base = self.task.base
        examples = self.writing.examples("validation", self.settings)
        checked = examples.take(range(min(_CHECKED_EXAMPLES, len(examples))))
        expected = losses_of(self.network.eval(), checked, base.pad_id)
        loaded = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype="auto")
        head = VocabularyHead(loaded.get_output_embeddings())  # type: ignore[no-untyped-call]
        again = Network(loaded.base_model, head).to(base.device).eval()
        found = losses_of(again, checked, base.pad_id)
        difference = float((np.abs(found[:, 0] - expected[:, 0]) / found[:, 1]).max())
        tolerance = TOLERANCE if base.is_float32 else HALF_TOLERANCE
        # Written so that a NaN fails too.
        if not difference <= tolerance:
            raise ExportError(
                f"the exported model answers differently: its loss a token differs by up to {difference:.2g} (allowed"
                f" {tolerance:g}); please report this with the model's name"
            )


def losses_of(network: Network, examples: Examples, pad_id: int) -> Floats:
    """(examples, 2): sum of the cross-entropies of each example's targets, and how many these are."""
    found = np.zeros((len(examples), 2))
    device = next(network.parameters()).device
    with torch.no_grad():
        network.eval()
        for rows in by_length(examples.tokens, _LOSS_BATCH):
            some = examples.take(rows)
            logits = network.answers(collate(some, pad_id=pad_id, device=device))
            targets = torch.tensor([token for own in some.targets for token in own], device=device)
            lost = nn.functional.cross_entropy(logits, targets, reduction="none").double().cpu()
            for row, piece in zip(rows, torch.split(lost, some.sizes), strict=True):
                found[row] = float(piece.sum()), len(piece)
    return found


def save_whole(model: Any, merged: Network, folder: Path, *, dtype: torch.dtype) -> None:
    """Write a causal model of `model`'s kind with the weights of `merged`, as `save_pretrained` does."""
    with torch.device("meta"):
        whole = type(model)(model.config)
    setattr(whole, whole.base_model_prefix, merged.backbone)
    whole.set_output_embeddings(merged.head.output)
    whole.generation_config = model.generation_config
    whole.to(dtype).save_pretrained(folder)
