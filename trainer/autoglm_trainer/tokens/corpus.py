"""Texts as token ids, cut to a length, each length encoded once a process."""

from __future__ import annotations

from dataclasses import dataclass, field

from tokenizers import Tokenizer

from autoglm_trainer.errors import DataError
from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.rows.splits import Splits
from autoglm_trainer.rows.texts import LabelledText

from .examples import Tokens


@dataclass
class Corpus:
    """The texts of each split. A `max_length` beyond the longest text changes nothing, so it is cut to it first."""

    base: BaseModel
    splits: Splits[LabelledText]
    _tokens: dict[tuple[str, int], Tokens] = field(default_factory=dict)
    _windows: dict[tuple[str, int], tuple[Tokens, tuple[int, ...]]] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse texts of which the tokenizer keeps nothing.

        Raises:
            DataError: naming source, line and text.
        """
        for split, rows in self.splits.by_name.items():
            for row, ids in zip(rows, self.tokens(split, self.base.max_tokens), strict=True):
                if not ids:
                    raise DataError(
                        f"{rows.where(row)}: the model's tokenizer keeps nothing of {row.text[:80]!r};"
                        " drop the row, or use a model that knows its script"
                    )

    def windows(self, split: str, max_length: int) -> tuple[Tokens, tuple[int, ...]]:
        """Token ids of every window of each text, neighbours sharing a quarter, and the row that each window is of."""
        if max_length >= max(map(len, self.tokens(split, self.base.max_tokens))) < self.base.max_tokens:
            tokens = self.tokens(split, max_length)
            return tokens, tuple(range(len(tokens)))
        if (split, max_length) not in self._windows:
            found = windowed(self.base.tokenizer, max_length).encode_batch(self._texts(split))
            pairs = [(row, one) for row, whole in enumerate(found) for one in (whole, *whole.overflowing)]
            tokens = tuple(tuple(one.ids) for _, one in pairs)
            self._windows[split, max_length] = tokens, tuple(row for row, _ in pairs)
        return self._windows[split, max_length]

    def tokens(self, split: str, max_length: int) -> Tokens:
        """Token ids of each text, truncated as the server will truncate."""
        whole = self._encode(split, self.base.max_tokens)
        return whole if max_length >= max(map(len, whole)) else self._encode(split, max_length)

    def _encode(self, split: str, max_length: int) -> Tokens:
        key = (split, max_length)
        if key not in self._tokens:
            encodings = self.base.tokenizer_for(max_length).encode_batch(self._texts(split))
            self._tokens[key] = tuple(tuple(encoding.ids) for encoding in encodings)
        return self._tokens[key]

    def _texts(self, split: str) -> list[str]:
        return [row.text for row in self.splits.by_name[split]]


def windowed(tokenizer: Tokenizer, max_length: int) -> Tokenizer:
    """A copy that cuts a text into windows of `max_length` tokens, special ones included, a quarter of them shared."""
    copy: Tokenizer = Tokenizer.from_str(tokenizer.to_str())
    room = max_length - copy.num_special_tokens_to_add(is_pair=False)
    copy.enable_truncation(max_length, stride=max(0, room) // 4)
    return copy
