"""`text-generation`: an answer in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from autoglm_api.generation import batches
from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, check_text, kind_of
from autoglm_serving.writing import CausalModel, load_frame, load_tokenizer

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
        self._frame = load_frame(folder)
        self._tokenizer = load_tokenizer(folder)
        self._model = CausalModel(folder, self._frame, threads=threads)

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
                written = self._model.write([items[index].tokens for index in chosen], max_new_tokens=most)
                found.update(zip(chosen, map(self._said, written), strict=True))
        return [found[index] for index in range(len(items))]

    def _said(self, written: Sequence[int]) -> dict[str, Any]:
        tokens, finished = self._frame.answer(written)
        text = self._tokenizer.decode(list(tokens), skip_special_tokens=True).strip()
        return {"answer": text, "tokens": len(tokens), "finished": finished}

    def samples(self) -> list[Asked]:
        """The shortest prompt and the longest."""
        return [Asked(self._frame.around([self._frame.pad] * size), _WARM_TOKENS) for size in (1, self._frame.room)]
