"""A causal model in memory as a respondent."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from autoglm_api.generation import BATCH, AllowedTokens, PromptFrame, batches
from autoglm_api.prompting import Decoding
from autoglm_trainer.errors import DataError, Infeasible

from .respondent import Response


@dataclass
class LocalModel:
    """Meets `Respondent`; every answer is decided by prompt, decoding and seed, whoever shares the batch.

    Attributes:
        model: transformers' causal model, in evaluation mode.
        tokenizer: without truncation and padding.
        around: token ids before and after a prompt, and what ends an answer; `room` is not looked at.
        max_tokens: the longest input of the model.
        half: the type to compute in; None = as the weights are.
        written: transformers' own tokenizer, for the files that others load the model with.
    """

    model: Any
    tokenizer: Tokenizer
    around: PromptFrame
    max_tokens: int
    half: torch.dtype | None = None
    written: Any = None
    together: int = 4 * BATCH
    times_itself: bool = False
    _allowed: dict[tuple[str, ...], AllowedTokens] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.tokenizer = Tokenizer.from_str(self.tokenizer.to_str())
        # A prompt that spells out a special token says its words, no more.
        self.tokenizer.encode_special_tokens = True

    def answer_tokens(self, answers: Sequence[str]) -> int:
        """With the token that ends an answer; at most half of what the model can take."""
        encoded = self.tokenizer.encode_batch(list(answers), add_special_tokens=False)
        return min(1 + max(len(found.ids) for found in encoded), self.max_tokens // 2)

    def fits(self, prompt: str, max_new_tokens: int) -> bool:
        """Counted in tokens, with those that stand around a prompt."""
        return len(self._encode(prompt)) <= self.frame(max_new_tokens).room

    def frame(self, max_new_tokens: int) -> PromptFrame:
        """What stands around prompts, with the room that is left for them.

        Raises:
            Infeasible: none is.
        """
        room = self.max_tokens - max_new_tokens - len(self.around.before) - len(self.around.after)
        if room < 1:
            raise Infeasible(
                f"max_new_tokens {max_new_tokens} leaves no room for a prompt: the model takes {self.max_tokens} tokens"
                " in all; lower it"
            )
        return self.around.model_copy(update={"room": room})

    def answer(
        self, prompts: Sequence[str], decoding: Decoding, *, labels: Sequence[str], heartbeat: Callable[[], None]
    ) -> list[Response]:
        """In batches of prompts of like length."""
        frame = self.frame(decoding.max_new_tokens)
        tokens = [frame.around(self._encode(prompt)) for prompt in prompts]
        found: dict[int, Response] = {}
        for chosen in batches([*map(len, tokens)], penalised=decoding.repetition_penalty != 1):
            started = time.perf_counter()
            seeds = [decoding.seed_of(prompts[index]) for index in chosen]
            texts = self._write(frame, [tokens[index] for index in chosen], decoding, labels, seeds)
            seconds = (time.perf_counter() - started) / len(chosen)
            for index, text in zip(chosen, texts, strict=True):
                found[index] = Response(text, float(len(tokens[index])), seconds)
            heartbeat()
        return [found[index] for index in range(len(prompts))]

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(prompt, add_special_tokens=False).ids
        return ids

    def _write(
        self,
        frame: PromptFrame,
        prompts: Sequence[Sequence[int]],
        decoding: Decoding,
        labels: Sequence[str],
        seeds: Sequence[int],
    ) -> list[str]:
        ids, mask = frame.pad_left(prompts)
        device = next(self.model.parameters()).device
        read = torch.tensor(ids, device=device)
        allowed = self._allow(labels) if labels else None
        with torch.no_grad(), torch.autocast(device.type, self.half, enabled=self.half is not None):
            written = self.model.generate(
                read,
                attention_mask=torch.tensor(mask, device=device),
                generation_config=generation_config(frame, decoding),
                logits_processor=processors(decoding, seeds),
                prefix_allowed_tokens_fn=allowed and (lambda _, row: allowed.after(row[read.shape[1] :].tolist())),
            )
        return [self._text(frame, tokens, allowed, labels) for tokens in written[:, read.shape[1] :].tolist()]

    def _text(
        self, frame: PromptFrame, written: Sequence[int], allowed: AllowedTokens | None, labels: Sequence[str]
    ) -> str:
        tokens, _ = frame.answer(written)
        place = allowed.place(tokens) if allowed else None
        if place is not None:
            return labels[place]
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text.strip()

    def _allow(self, labels: Sequence[str]) -> AllowedTokens:
        key = tuple(labels)
        if key not in self._allowed:
            try:
                self._allowed[key] = AllowedTokens([self._encode(label) for label in labels], self.around.ends)
            except ValueError as error:
                first, second = (labels[index] for index in error.args)
                raise DataError(
                    f"data.train: the labels {first!r} and {second!r} are the same to the model's tokenizer; spell one"
                    " of them in other words, or use a model that knows both"
                ) from error
        return self._allowed[key]


def generation_config(frame: PromptFrame, decoding: Decoding) -> Any:
    """The settings of transformers for answers that chance has no part in; what is drawn is drawn by `processors`."""
    from transformers import GenerationConfig

    return GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=list(frame.ends),
        pad_token_id=frame.pad,
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.num_beams if decoding.kind == "beams" else 1,
        repetition_penalty=decoding.repetition_penalty,
        do_sample=False,
    )


def processors(decoding: Decoding, seeds: Sequence[int]) -> Any:
    """What is done to the logits of each step; a drawn token is the likeliest after noise (Gumbel-max).

    So a row's answer hangs on its own seed alone, not on who shares its batch.
    """
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if decoding.kind != "sample":
        return LogitsProcessorList()
    chain: list[Any] = [TemperatureLogitsWarper(decoding.temperature)]
    chain += [TopKLogitsWarper(decoding.top_k)] if decoding.top_k else []
    chain += [TopPLogitsWarper(decoding.top_p)] if decoding.top_p < 1 else []
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def add_noise(_: Tensor, scores: Tensor) -> Tensor:
        noise = [-torch.empty(scores.shape[1]).exponential_(generator=each).log() for each in generators]
        return scores + torch.stack(noise).to(scores.device, scores.dtype)

    return LogitsProcessorList([*chain, add_noise])
