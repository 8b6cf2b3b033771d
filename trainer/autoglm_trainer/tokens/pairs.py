"""Questions with the windows of their contexts as tokens; the tokenizer says how, so the server does the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Encoding, Tokenizer
from tokenizers.processors import TemplateProcessing

from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.rows.questions import Question

CONTEXT = 1


def pair_tokenizer(base: BaseModel) -> Tokenizer:
    """The base model's tokenizer, which puts something between two texts and after them.

    A decoder's often joins two texts with nothing between; there the padding token parts and ends them, after
    whatever a single text begins with.
    """
    tokenizer: Tokenizer = Tokenizer.from_str(base.tokenizer.to_str())
    tokenizer.no_truncation()
    joined = tokenizer.encode("a", "b").sequence_ids
    if joined and joined[-1] is None and None in joined[joined.index(0) :][: joined.index(CONTEXT) - joined.index(0)]:
        return tokenizer
    single = tokenizer.encode("a")
    begin = [token for token, place in zip(single.tokens, single.sequence_ids, strict=True) if place is None]
    names = list(dict.fromkeys([*begin, base.pad_token]))
    tokenizer.post_processor = TemplateProcessing(
        single=f"{' '.join(begin)} $A".strip(),
        pair=f"{' '.join(begin)} $A {base.pad_token} $B:1 {base.pad_token}:1".strip(),
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in names],
    )
    return tokenizer


def windowed(tokenizer: Tokenizer, max_length: int, stride: int) -> Tokenizer:
    """A copy that cuts contexts into windows of `max_length` tokens in all, of which `stride` are shared."""
    copy: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    # A stride as long as the room for the context would never get on.
    copy.enable_truncation(max_length, stride=min(stride, max_length // 4), strategy="only_second")
    return copy


@dataclass
class Reading:
    """Encodes rows. A question may take half of a window; what is beyond is cut, in training and serving alike."""

    tokenizer: Tokenizer
    max_length: int
    _plain: Tokenizer = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._plain = Tokenizer.from_str(self.tokenizer.to_str())
        self._plain.no_truncation()

    def windows(self, row: Question) -> list[Encoding]:
        """The windows of the row's context, each with the question before it."""
        encoding = self.tokenizer.encode(self.cut(row.question), row.context)
        return [encoding, *encoding.overflowing]

    def cut(self, question: str) -> str:
        """The question's first tokens."""
        offsets = self._plain.encode(question, add_special_tokens=False).offsets
        room = self.max_length // 2
        return question if len(offsets) <= room else question[: offsets[room - 1][1]]


def answered(encoding: Encoding) -> tuple[int, ...]:
    """The places of the context's tokens, and last the window's end, where `no answer` is said."""
    context = [place for place, text in enumerate(encoding.sequence_ids) if text == CONTEXT]
    return (*context, len(encoding.ids) - 1)


def target(encoding: Encoding, places: tuple[int, ...], row: Question) -> tuple[int, int]:
    """First and last answered token of the answer; both the window's end where the window does not hold it whole."""
    null = len(places) - 1
    if row.start is None:
        return null, null
    start, end = row.start, row.start + len(row.answer)
    inside = [
        index
        for index, place in enumerate(places[:-1])
        if encoding.offsets[place][0] < end and encoding.offsets[place][1] > start
    ]
    if not inside:
        return null, null
    first, last = inside[0], inside[-1]
    if encoding.offsets[places[first]][0] > start or encoding.offsets[places[last]][1] < end:
        return null, null
    return first, last
