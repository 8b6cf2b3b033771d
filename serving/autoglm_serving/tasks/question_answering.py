"""`question-answering`: the stretch of a context that answers a question, or that there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Encoding, Tokenizer

from autoglm_api.manifest import Manifest
from autoglm_api.predict import TEXT
from autoglm_api.spans import choose, read_window
from autoglm_serving.encoder import Encoder
from autoglm_serving.errors import UnusableModelError
from autoglm_serving.requests import Refused, check_text, kind_of

_CONTEXT = 1


@dataclass(frozen=True)
class Asked:
    """A question's context and its windows as tokens."""

    context: str
    windows: tuple[Encoding, ...]


class Reader:
    """Answers with a stretch of the context. Windows, thresholds and lengths are the manifest's."""

    item: ClassVar[dict[str, Any]] = {
        "type": "object",
        "required": ["question", "context"],
        "additionalProperties": False,
        "properties": {"question": TEXT, "context": TEXT},
    }
    answer: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "answer": {"type": "string", "description": "as it stands in the context; empty = there is none"},
            "start": {"type": ["integer", "null"], "description": "its first character in the context, from 0"},
            "end": {"type": ["integer", "null"], "description": "one after its last"},
            "score": {"type": "number", "description": "probability within its window"},
        },
    }

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int) -> None:
        """Load from a checked folder; see `Answerer`."""
        settings = manifest.settings
        try:
            self._max_tokens = int(settings["max_answer_tokens"])
            self._threshold = float(settings["no_answer_threshold"])
            self._may_be_absent = bool(settings["may_be_absent"])
        except (KeyError, ValueError) as error:
            raise UnusableModelError(f"the manifest's settings lack or misstate {error}") from error
        self._encoder = Encoder(folder, manifest, threads=threads)
        self._plain: Tokenizer = Tokenizer.from_str(self._encoder.tokenizer.to_str())
        self._plain.no_truncation()

    def parse(self, item: object, where: str) -> Asked:
        """Question and context as windows of tokens, cut as in training."""
        if not isinstance(item, Mapping):
            raise Refused(422, "BadItem", f"{where} must be an object with question and context, got {kind_of(item)}")
        unknown = [name for name in item if name not in ("question", "context")]
        if unknown:
            raise Refused(422, "BadItem", f"{where} has an unknown field {str(unknown[0])[:100]!r}")
        for name in ("question", "context"):
            if name not in item:
                raise Refused(422, "NoData", f"{where}.{name} is missing")
        question = check_text(item["question"], f"{where}.question")
        context = check_text(item["context"], f"{where}.context")
        encoding = self._encoder.tokenizer.encode(self._cut(question), context)
        if _CONTEXT not in encoding.sequence_ids:
            raise Refused(422, "NoTokens", f"{where}.context has nothing that the model's tokenizer knows")
        return Asked(context, (encoding, *encoding.overflowing))

    def _cut(self, question: str) -> str:
        """The question's first tokens: it may take half of a window."""
        offsets = self._plain.encode(question, add_special_tokens=False).offsets
        room = self._encoder.max_length // 2
        return question if len(offsets) <= room else question[: offsets[room - 1][1]]

    def predict(self, items: Sequence[Asked]) -> list[dict[str, Any]]:
        """One answer a question, in order."""
        # What is needed of an encoding is read before the graph pads it.
        places = [[_answered(window) for window in item.windows] for item in items]
        answers = iter(self._encoder.run([window for item in items for window in item.windows], 2))
        found = []
        for item, its_places in zip(items, places, strict=True):
            read = []
            for own in its_places:
                logits = next(answers)
                if logits.ndim != 2:
                    raise UnusableModelError("the graph answers whole texts; this task needs an answer for each token")
                read.append(read_window(logits[list(own), 0].tolist(), logits[list(own), 1].tolist(), self._max_tokens))
            chosen = choose(read, may_be_absent=self._may_be_absent, threshold=self._threshold)
            if chosen is None:
                sure = min(window.absent_probability for window in read)
                found.append({"answer": "", "start": None, "end": None, "score": sure})
                continue
            index, span = chosen
            offsets, own = item.windows[index].offsets, its_places[index]
            start, end = _trimmed(item.context, offsets[own[span.first]][0], offsets[own[span.last]][1])
            found.append({"answer": item.context[start:end], "start": start, "end": end, "score": span.probability})
        return found

    def samples(self) -> list[Asked]:
        """A short question, and one about a context of several windows."""
        words = self._encoder.words()
        long = {"question": words[-1], "context": " ".join(words * 2)}
        return [self.parse({"question": words[-1], "context": words[-1]}, "sample"), self.parse(long, "sample")]


def _answered(encoding: Encoding) -> tuple[int, ...]:
    """The places of the context's tokens, and last the window's end, where `no answer` is said."""
    context = [place for place, text in enumerate(encoding.sequence_ids) if text == _CONTEXT]
    return (*context, len(encoding.ids) - 1)


def _trimmed(context: str, start: int, end: int) -> tuple[int, int]:
    """Without white space at the ends."""
    text = context[start:end]
    return start + len(text) - len(text.lstrip()), end - (len(text) - len(text.rstrip()))
