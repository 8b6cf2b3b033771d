"""A causal model in this process. Making one imports torch and transformers; nothing else does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import ValidationError
from tokenizers import Tokenizer

from autoglm_api.generation import PROMPT, AllowedTokens, PromptFrame, batches
from autoglm_api.prompting import Decoding

from .errors import UnusableModelError
from .prompting import Answered

_TOKENIZER = "tokenizer.json"


class CausalModel:
    """Writes tokens after tokens.

    Args:
        folder: checked.
        frame: what pads, and what ends an answer.
        threads: that a generation uses.

    Raises:
        UnusableModelError: it cannot be loaded, or torch is not installed.
    """

    def __init__(self, folder: Path, frame: PromptFrame, *, threads: int) -> None:
        self._frame = frame
        # One generation at a time: each uses all threads, and holds the keys and values of its whole batch.
        self._lock = Lock()
        self._model = _load_model(folder, threads)

    def write(self, prompts: Sequence[Sequence[int]], **told: Any) -> list[list[int]]:
        """What follows each prompt; `told` is what `generate` takes besides.

        Raises:
            UnusableModelError: the model fails.
        """
        import torch

        ids, mask = self._frame.pad_left(prompts)
        read = torch.tensor(ids)
        try:
            with self._lock, torch.no_grad():
                written = self._model.generate(read, attention_mask=torch.tensor(mask), **told)
        except RuntimeError as error:
            raise UnusableModelError(f"the model failed: {error}") from error
        tokens: list[list[int]] = written[:, read.shape[1] :].tolist()
        return tokens


class WholeModel:
    """Answers whole prompts, each by prompt, decoding and seed alone, as the search did. Meets `Questioned`."""

    def __init__(self, folder: Path, *, threads: int) -> None:
        self._frame = load_frame(folder)
        self._tokenizer = load_tokenizer(folder)
        self._model = CausalModel(folder, self._frame, threads=threads)
        self._allowed: dict[tuple[str, ...], AllowedTokens] = {}

    def fits(self, prompt: str) -> bool:
        """Counted in tokens."""
        return 0 < len(self._encode(prompt)) <= self._frame.room

    def answer(self, prompts: Sequence[str], decoding: Decoding, labels: Sequence[str]) -> list[Answered]:
        """In batches of prompts of like length; where there are labels, nothing else is written."""
        tokens = [self._frame.around(self._encode(prompt)) for prompt in prompts]
        allowed = self._allow(labels) if labels else None
        found: dict[int, Answered] = {}
        for chosen in batches([*map(len, tokens)], penalised=decoding.repetition_penalty != 1):
            read = [tokens[index] for index in chosen]
            start = max(map(len, read))
            written = self._model.write(
                read,
                generation_config=_generation_config(self._frame, decoding),
                logits_processor=_processors(decoding, [decoding.seed_of(prompts[index]) for index in chosen]),
                prefix_allowed_tokens_fn=allowed and (lambda _, row, start=start: allowed.after(row[start:].tolist())),
            )
            for index, own in zip(chosen, written, strict=True):
                found[index] = self._said(len(tokens[index]), own, allowed, labels)
        return [found[index] for index in range(len(prompts))]

    def _encode(self, prompt: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(prompt, add_special_tokens=False).ids
        return ids

    def _allow(self, labels: Sequence[str]) -> AllowedTokens:
        key = tuple(labels)
        if key not in self._allowed:
            try:
                self._allowed[key] = AllowedTokens([self._encode(label) for label in labels], self._frame.ends)
            except ValueError as error:
                raise UnusableModelError(f"labels {error.args} have the same tokens") from error
        return self._allowed[key]

    def _said(
        self, read: int, written: Sequence[int], allowed: AllowedTokens | None, labels: Sequence[str]
    ) -> Answered:
        tokens, finished = self._frame.answer(written)
        place = allowed.place(tokens) if allowed else None
        text = (
            self._tokenizer.decode(list(tokens), skip_special_tokens=True).strip() if place is None else labels[place]
        )
        return Answered(text, read, len(tokens), finished)


def load_frame(folder: Path) -> PromptFrame:
    """What stands around prompts.

    Raises:
        UnusableModelError: the folder does not say it.
    """
    try:
        return PromptFrame.model_validate_json((folder / PROMPT).read_bytes())
    except FileNotFoundError as error:
        raise UnusableModelError(f"the model has no {PROMPT}") from error
    except ValidationError as error:
        raise UnusableModelError(f"{PROMPT} cannot be used: {error.errors()[0]['msg']}") from error


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer, without truncation and padding.

    Raises:
        UnusableModelError: there is none.
    """
    if not (folder / _TOKENIZER).is_file():
        raise UnusableModelError(f"the model has no {_TOKENIZER}")
    try:
        tokenizer = Tokenizer.from_file(str(folder / _TOKENIZER))
    except Exception as error:
        raise UnusableModelError(f"{_TOKENIZER} cannot be read: {error}") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    # A prompt that spells out a special token says its words, no more.
    tokenizer.encode_special_tokens = True
    return tokenizer


def _load_model(folder: Path, threads: int) -> Any:  # a transformers model has no useful type
    """The causal model in the folder, checked for weights that are no numbers.

    Raises:
        UnusableModelError: it cannot be loaded, or torch is not installed.
    """
    try:
        import torch
        import transformers
    except ImportError as error:
        raise UnusableModelError(
            "a model that writes texts needs torch and transformers, which are not installed here: install"
            " open-autoglm[serving-generation], or use the image autoglm-serving-generation"
        ) from error
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    torch.set_num_threads(threads)
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype="auto"
        )
        model.eval()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            finite = bool(model(torch.tensor([[0, 1]])).logits.isfinite().all())
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        raise UnusableModelError(
            f"the model's weights cannot be loaded: {' '.join(str(error).split())[:300]}"
        ) from error
    if not finite:
        raise UnusableModelError("the model answers with numbers that are not finite")
    return model


def _generation_config(frame: PromptFrame, decoding: Decoding) -> Any:
    """The settings of transformers for answers that chance has no part in; what is drawn is drawn by `_processors`."""
    from transformers import GenerationConfig

    return GenerationConfig(  # type: ignore[no-untyped-call]
        eos_token_id=list(frame.ends),
        pad_token_id=frame.pad,
        max_new_tokens=decoding.max_new_tokens,
        num_beams=decoding.num_beams if decoding.kind == "beams" else 1,
        repetition_penalty=decoding.repetition_penalty,
        do_sample=False,
    )


def _processors(decoding: Decoding, seeds: Sequence[int]) -> Any:
    """Draws by noise from each row's own seed, as the trainer's `prompting/local.py` does."""
    import torch
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    if decoding.kind != "sample":
        return LogitsProcessorList()
    chain: list[Any] = [TemperatureLogitsWarper(decoding.temperature)]
    chain += [TopKLogitsWarper(decoding.top_k)] if decoding.top_k else []
    chain += [TopPLogitsWarper(decoding.top_p)] if decoding.top_p < 1 else []
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def add_noise(_: Any, scores: Any) -> Any:
        noise = [-torch.empty(scores.shape[1]).exponential_(generator=each).log() for each in generators]
        return scores + torch.stack(noise).to(scores.device, scores.dtype)

    return LogitsProcessorList([*chain, add_noise])
