"""`text-generation`: an answer in words. Loading such a model imports torch and transformers; nothing else does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from pydantic import ValidationError
from tokenizers import Tokenizer

from autoglm_api.generation import PROMPT, PromptFrame, batches
from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, check_text, kind_of

_TOKENIZER = "tokenizer.json"
_WARM_TOKENS = 2


@dataclass(frozen=True)
class Asked:
    """A prompt's tokens with what stands around it, and the longest answer in tokens."""

    tokens: tuple[int, ...]
    max_new_tokens: int


class TextGenerator:
    """Writes the likeliest answer. What stands around prompts and how answers are written is the model's own."""

    item: ClassVar[dict[str, Any]] = {
        "anyOf": [
            TEXT,
            {
                "type": "object",
                "required": ["prompt"],
                "additionalProperties": False,
                "properties": {
                    "prompt": TEXT,
                    "max_new_tokens": {"type": "integer", "minimum": 1, "description": "at most the model's own"},
                },
            },
        ]
    }
    answer: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "answer": {"type": "string"},
            "tokens": {"type": "integer", "description": "tokens of the answer"},
            "finished": {"type": "boolean", "description": "whether it came to its end; false = max_new_tokens cut it"},
        },
    }

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        try:
            self._most = int(manifest.settings["max_new_tokens"])
            self._penalised = float(manifest.settings["repetition_penalty"]) != 1
        except (KeyError, ValueError) as error:
            raise UnusableModelError(f"the manifest's settings lack or misstate {error}") from error
        self._frame = _load_frame(folder)
        self._tokenizer = _load_tokenizer(folder)
        # One generation at a time: each uses all threads, and holds the keys and values of its whole batch.
        self._lock = Lock()
        self._model = _load_model(folder, threads)

    def parse(self, item: object, where: str) -> Asked:
        """A prompt, alone or with the longest answer that is wanted. A longer one than was trained with is refused."""
        if not isinstance(item, Mapping):
            return self._asked(check_text(item, where), where, self._most)
        unknown = [name for name in item if name not in ("prompt", "max_new_tokens")]
        if unknown:
            raise Refused(422, "BadItem", f"{where} has an unknown field {str(unknown[0])[:100]!r}")
        if "prompt" not in item:
            raise Refused(422, "NoData", f"{where}.prompt is missing")
        most = item.get("max_new_tokens", self._most)
        if isinstance(most, bool) or not isinstance(most, int):
            raise Refused(422, "BadItem", f"{where}.max_new_tokens must be a whole number, got {kind_of(most)}")
        if not 1 <= most <= self._most:
            raise Refused(422, "BadItem", f"{where}.max_new_tokens must lie in [1, {self._most}], got {most}")
        return self._asked(check_text(item["prompt"], f"{where}.prompt"), f"{where}.prompt", most)

    def _asked(self, prompt: str, where: str, most: int) -> Asked:
        tokens = self._tokenizer.encode(prompt.strip(), add_special_tokens=False).ids
        if not tokens:
            raise Refused(422, "NoTokens", f"{where} has nothing that the model's tokenizer knows")
        if len(tokens) > self._frame.room:
            raise Refused(
                422, "TextTooLong", f"{where} has {len(tokens)} tokens; this model reads {self._frame.room} at most"
            )
        return Asked(self._frame.around(tokens), most)

    def predict(self, items: Sequence[Asked]) -> list[dict[str, Any]]:
        """One answer a prompt, in order."""
        groups: dict[int, list[int]] = defaultdict(list)
        for index, item in enumerate(items):
            groups[item.max_new_tokens].append(index)
        found: dict[int, dict[str, Any]] = {}
        for most, indices in groups.items():
            for places in batches([len(items[index].tokens) for index in indices], penalised=self._penalised):
                chosen = [indices[place] for place in places]
                written = self._write([items[index].tokens for index in chosen], most)
                found.update(zip(chosen, map(self._said, written), strict=True))
        return [found[index] for index in range(len(items))]

    def _write(self, prompts: Sequence[tuple[int, ...]], most: int) -> list[list[int]]:
        """The tokens that the model writes after each prompt."""
        import torch

        ids, mask = self._frame.pad_left(prompts)
        read = torch.tensor(ids)
        try:
            with self._lock, torch.no_grad():
                written = self._model.generate(read, attention_mask=torch.tensor(mask), max_new_tokens=most)
        except RuntimeError as error:
            raise UnusableModelError(f"the model failed: {error}") from error
        tokens: list[list[int]] = written[:, read.shape[1] :].tolist()
        return tokens

    def _said(self, written: Sequence[int]) -> dict[str, Any]:
        tokens, finished = self._frame.answer(written)
        text = self._tokenizer.decode(list(tokens), skip_special_tokens=True).strip()
        return {"answer": text, "tokens": len(tokens), "finished": finished}

    def samples(self) -> list[Asked]:
        """The shortest prompt and the longest."""
        return [Asked(self._frame.around([self._frame.pad] * size), _WARM_TOKENS) for size in (1, self._frame.room)]


def _load_frame(folder: Path) -> PromptFrame:
    try:
        return PromptFrame.model_validate_json((folder / PROMPT).read_bytes())
    except FileNotFoundError as error:
        raise UnusableModelError(f"the model has no {PROMPT}") from error
    except ValidationError as error:
        raise UnusableModelError(f"{PROMPT} cannot be used: {error.errors()[0]['msg']}") from error


def _load_tokenizer(folder: Path) -> Tokenizer:
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
