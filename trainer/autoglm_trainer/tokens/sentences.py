"""Sentences as token ids: words keep their borders, long sentences become windows that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from tokenizers import Encoding, Tokenizer

from autoglm_api.words import SubWord, places, spaced
from autoglm_trainer.errors import DataError
from autoglm_trainer.model.base import BaseModel
from autoglm_trainer.rows.splits import Rows, Splits
from autoglm_trainer.rows.tagged import Sentence

from .examples import Tokens


@dataclass(frozen=True)
class Windows:
    """The windows of a split's sentences, in order.

    Attributes:
        length: of the longest one, in tokens.
        items: the sentence that each is of.
        words: the words that each answers. positions: where, among its tokens.
    """

    length: int
    tokens: Tokens
    items: tuple[int, ...]
    words: Tokens
    positions: Tokens


@dataclass
class SentenceCorpus:
    """The sentences of each split.

    Attributes:
        spaces: whether the tokenizer tells a word after a space from the same word without, so that it needs them.
    """

    base: BaseModel
    splits: Splits[Sentence]
    spaces: bool = field(init=False)
    _kept: dict[tuple[str, int, SubWord], Windows] = field(default_factory=dict, repr=False)
    _longest: dict[str, int] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        plain, after_space = (self.base.tokenizer.encode(text, add_special_tokens=False).ids for text in ("a", " a"))
        self.spaces = plain != after_space

    def check(self) -> None:
        """Refuse sentences of which the tokenizer keeps nothing.

        Raises:
            DataError: naming source, line and sentence.
        """
        for split, rows in self.splits.by_name.items():
            encodings = self._encode(self.base.tokenizer, rows)
            for row, encoding in zip(rows, encodings, strict=True):
                if all(word is None for word in encoding.word_ids):
                    raise DataError(
                        f"{rows.where(row)}: the model's tokenizer keeps nothing of"
                        f" {' '.join(row.words)[:80]!r}; drop the row, or use a model that knows its script"
                    )
            self._longest[split] = max(len(encoding.ids) for encoding in encodings)

    def tokenizer(self, max_length: int) -> Tokenizer:
        """A copy of the tokenizer that cuts into windows of `max_length` tokens; a quarter of each is shared."""
        tokenizer = self.base.tokenizer_for(max_length)
        length = min(max_length, self.base.max_tokens)
        tokenizer.enable_truncation(length, stride=(length - tokenizer.num_special_tokens_to_add(is_pair=False)) // 4)
        return tokenizer

    def windows(self, split: str, max_length: int, subword: SubWord) -> Windows:
        """A split's windows; beyond the longest sentence `max_length` changes nothing."""
        length = min(max_length, self.base.max_tokens, self._longest[split])
        key = (split, length, subword)
        if key not in self._kept:
            found = self._encode(self.tokenizer(length), self.splits.by_name[split])
            self._kept[key] = _windows(length, found, subword)
        return self._kept[key]

    def _encode(self, tokenizer: Tokenizer, rows: Rows[Sentence]) -> list[Encoding]:
        words = [spaced(row.words) if self.spaces else list(row.words) for row in rows]
        return list(tokenizer.encode_batch(words, is_pretokenized=True))


def _windows(length: int, encodings: Sequence[Encoding], subword: SubWord) -> Windows:
    tokens, items, words, positions = [], [], [], []
    for item, encoding in enumerate(encodings):
        windows = (encoding, *encoding.overflowing)
        for window, found in zip(windows, places([each.word_ids for each in windows], subword), strict=True):
            if not found:
                continue
            tokens.append(tuple(window.ids))
            items.append(item)
            words.append(tuple(found))
            positions.append(tuple(found.values()))
    return Windows(length, tuple(tokens), tuple(items), tuple(words), tuple(positions))
