"""`prompt-optimization`: a question is asked as the search has found best, here or of an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import ValidationError

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT
from autoglm_api.prompting import RECIPE, Recipe, match_label
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.prompting import Answered, Forwarder, Questioned
from autoglm_serving.requests import Refused, check_text, kind_of
from autoglm_serving.writing import WholeModel

_SAMPLES = ("a", "a " * 64)


@dataclass(frozen=True)
class Asked:
    """A whole prompt."""

    prompt: str


class PromptedAnswerer:
    """Puts template and examples around each question; the same way as in the search, for both have the same recipe."""

    item: ClassVar[dict[str, Any]] = {
        "anyOf": [
            TEXT,
            {
                "type": "object",
                "required": ["prompt"],
                "additionalProperties": False,
                "properties": {"prompt": TEXT},
            },
        ]
    }
    answer: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "answer": {"type": "string"},
            "label": {
                "type": ["string", "null"],
                "description": "the label that the answer stands for, if it names one",
            },
            "prompt_tokens": {"type": ["integer", "null"], "description": "tokens that were read"},
            "tokens": {"type": ["integer", "null"], "description": "tokens of the answer"},
            "finished": {"type": "boolean", "description": "whether it came to its end, or was cut"},
        },
    }

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        self._recipe = _load_recipe(folder)
        self._labels = manifest.labels or self._recipe.labels
        if self._recipe.endpoint is not None:
            self._model: Questioned = Forwarder(self._recipe.endpoint)
        else:
            self._model = WholeModel(folder, threads=threads)

    def parse(self, item: object, where: str) -> Asked:
        """A question, alone or as `prompt`."""
        if isinstance(item, Mapping):
            unknown = [name for name in item if name != "prompt"]
            if unknown:
                raise Refused(422, "BadItem", f"{where} has an unknown field {str(unknown[0])[:100]!r}")
            if "prompt" not in item:
                raise Refused(422, "NoData", f"{where}.prompt is missing")
            item, where = item["prompt"], f"{where}.prompt"
        elif not isinstance(item, str):
            raise Refused(422, "NotText", f"{where} must be a text or an object with prompt, got {kind_of(item)}")
        question = check_text(item, where).strip()
        whole = self._recipe.ask(question, self._model.fits)
        if not self._model.fits(whole):
            raise Refused(
                422,
                "TextTooLong",
                f"{where} is too long for this model, even without the examples that stand before it",
            )
        return Asked(whole)

    def predict(self, items: Sequence[Asked]) -> list[dict[str, Any]]:
        """One answer a question, in order."""
        answers = self._model.answer([item.prompt for item in items], self._recipe.decoding, self._recipe.labels)
        return [self._said(answer) for answer in answers]

    def _said(self, answer: Answered) -> dict[str, Any]:
        told: dict[str, Any] = {
            "answer": answer.text,
            "prompt_tokens": answer.prompt_tokens,
            "tokens": answer.tokens,
            "finished": answer.finished,
        }
        return {**told, "label": match_label(answer.text, self._labels)} if self._labels else told

    def samples(self) -> list[Asked]:
        """A short question, and where the model is here a longer one: an endpoint's answers cost."""
        some = _SAMPLES[:1] if self._recipe.endpoint else _SAMPLES
        return [Asked(self._recipe.ask(text, self._model.fits)) for text in some]


def _load_recipe(folder: Path) -> Recipe:
    try:
        return Recipe.model_validate_json((folder / RECIPE).read_bytes())
    except FileNotFoundError as error:
        raise UnusableModelError(f"the model has no {RECIPE}") from error
    except ValidationError as error:
        raise UnusableModelError(f"{RECIPE} cannot be used: {error.errors()[0]['msg']}") from error
