"""`token-classification`: the entities of a text or of given words, and the tag of every word.

A long text is read in overlapping windows, as in training, so that nothing of it is left out. The tags of an item are
the likeliest among those in which every `I-` continues an entity of its type.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from autoglm_api.bio import OUTSIDE, Entity, entities, likeliest
from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT
from autoglm_api.words import SubWord, is_ideographic, places, spaced
from autoglm_serving.encoder import Encoder
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, check_text, kind_of

MAX_WORDS = 10_000
_SCORE = {"type": "number", "description": "the lowest probability among the tags of its words"}
_PLACE = {"type": "integer", "description": "characters of the text, or words where words were given; end is exclusive"}


@dataclass(frozen=True)
class Words:
    """An item: its words, where each stands in `text` if it is one, and its windows as tokens."""

    words: tuple[str, ...]
    windows: tuple[Encoding, ...]
    places: tuple[dict[int, int], ...]
    text: str | None = None
    spans: tuple[tuple[int, int], ...] = ()


class EntityFinder:
    """Tags words. How they become tokens is the manifest's and the tokenizer file's affair."""

    item: ClassVar[dict[str, Any]] = {
        "oneOf": [
            TEXT,
            {
                "type": "object",
                "required": ["tokens"],
                "additionalProperties": False,
                "properties": {"tokens": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": MAX_WORDS}},
            },
        ]
    }
    answer: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "entities": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "text": {"type": "string"},
                        "start": _PLACE,
                        "end": _PLACE,
                        "score": _SCORE,
                    },
                },
            },
            "tokens": {"type": "array", "items": {"type": "string"}, "description": "the words as they were read"},
            "tags": {"type": "array", "items": {"type": "string"}, "description": "BIO, one a word"},
        },
    }

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        try:
            self._subword, self._spaces = manifest.settings["subword"], bool(manifest.settings["spaces"])
            self._outside = manifest.labels.index(OUTSIDE)
        except (KeyError, ValueError) as error:
            raise UnusableModelError(f"the manifest's settings or labels lack {error}") from error
        self.labels = manifest.labels
        self._encoder = Encoder(folder, manifest, threads=threads)

    def parse(self, item: object, where: str) -> Words:
        """A text, split into words; or words as given."""
        if isinstance(item, Mapping):
            return self._words(_given_words(item, where), where)
        if not isinstance(item, str):
            raise Refused(422, "BadItem", f"{where} must be a text or {{'tokens': […]}}, got {kind_of(item)}")
        text = check_text(item, where)
        spans = tuple(islice(split_words(text), MAX_WORDS + 1))
        if len(spans) > MAX_WORDS:
            raise Refused(422, "TextTooLong", f"{where} has more than {MAX_WORDS} words; send it in parts")
        return self._words([text[start:end] for start, end in spans], where, text, spans)

    def _words(
        self, words: Sequence[str], where: str, text: str | None = None, spans: tuple[tuple[int, int], ...] = ()
    ) -> Words:
        written = spaced(words) if self._spaces else list(words)
        encoding = self._encoder.tokenizer.encode(written, is_pretokenized=True)
        windows = (encoding, *encoding.overflowing)
        found = places([window.word_ids for window in windows], cast("SubWord", self._subword))
        if not any(found):
            raise Refused(422, "NoTokens", f"{where} has nothing that the model's tokenizer knows")
        kept = [(window, its_places) for window, its_places in zip(windows, found, strict=True) if its_places]
        return Words(tuple(words), tuple(w for w, _ in kept), tuple(p for _, p in kept), text, spans)

    def predict(self, items: Sequence[Words]) -> list[dict[str, Any]]:
        """One prediction an item, in order."""
        answers = iter(self._encoder.run([window for item in items for window in item.windows], len(self.labels)))
        return [self._prediction(item, list(islice(answers, len(item.windows)))) for item in items]

    def _prediction(self, item: Words, answers: Sequence[NDArray[np.float64]]) -> dict[str, Any]:
        told = np.zeros((len(item.words), len(self.labels)))
        told[:, self._outside] = 1.0  # of words that the tokenizer drops
        for its_places, answer in zip(item.places, answers, strict=True):
            if answer.ndim != 2:
                raise UnusableModelError("the graph answers whole texts; this task needs an answer for each token")
            for word, place in its_places.items():
                told[word] = answer[place]
        best = likeliest(told, self.labels)
        tags, sure = [self.labels[tag] for tag in best], told[np.arange(len(best)), best].tolist()
        found = [self._entity(item, entity, sure) for entity in entities(tags)]
        return {"entities": found, "tokens": list(item.words), "tags": tags}

    def _entity(self, item: Words, entity: Entity, sure: Sequence[float]) -> dict[str, Any]:
        if item.text is None:
            start, end, text = entity.start, entity.end, " ".join(item.words[entity.start : entity.end])
        else:
            start, end = item.spans[entity.start][0], item.spans[entity.end - 1][1]
            text = item.text[start:end]
        score = min(sure[entity.start : entity.end])
        return {"type": entity.type, "text": text, "start": start, "end": end, "score": score}

    def samples(self) -> list[Words]:
        """One word, and more than a window takes."""
        words = self._encoder.words()
        return [self._words([words[-1]], "sample"), self._words(words * 2, "sample")]


def _given_words(item: Mapping[object, object], where: str) -> list[str]:
    unknown = [name for name in item if name != "tokens"]
    if unknown:
        raise Refused(422, "BadItem", f"{where} has an unknown field {str(unknown[0])[:100]!r}; send tokens alone")
    words = item.get("tokens")
    if not isinstance(words, list):
        raise Refused(422, "BadItem", f"{where}.tokens must be a list of words, got {kind_of(words)}")
    if not words:
        raise Refused(422, "NoData", f"{where}.tokens is empty; send at least one word")
    if len(words) > MAX_WORDS:
        raise Refused(422, "TextTooLong", f"{where}.tokens has {len(words)} words; at most {MAX_WORDS}")
    return [check_text(word, f"{where}.tokens[{place}]") for place, word in enumerate(words)]


def split_words(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of each word: between white space, punctuation and symbols alone, and so each ideograph."""
    start: int | None = None
    for place, character in enumerate(text):
        alone = is_ideographic(character) or unicodedata.category(character)[0] in "PS"
        if alone or character.isspace():
            if start is not None:
                yield start, place
            start = None
            if alone and not character.isspace():
                yield place, place + 1
        elif start is None:
            start = place
    if start is not None:
        yield start, len(text)
