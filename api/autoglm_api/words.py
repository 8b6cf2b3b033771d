"""Words and the tokens that a model sees of them; trainer and server place their answers by these rules alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

SubWord = Literal["first", "last"]

_CLOSING = frozenset(",.;:!?)]}%…")


def is_ideographic(character: str) -> bool:
    """Whether the character is of a script without spaces, where it is a word of its own."""
    code = ord(character)
    return 0x2E80 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0xFF00 <= code <= 0xFFEF or code >= 0x20000


def spaced(words: Sequence[str]) -> list[str]:
    """The words, each with a space before it where a written text has one.

    For tokenizers to which a word after a space is another one than the same word without.
    """
    before = ["", *words[:-1]]
    return [f" {word}" if _apart(left, word) else word for left, word in zip(before, words, strict=True)]


def _apart(left: str, word: str) -> bool:
    if not left or not word or word in _CLOSING:
        return False
    return not (is_ideographic(left[-1]) or is_ideographic(word[0]))


def places(windows: Sequence[Sequence[int | None]], subword: SubWord) -> list[dict[int, int]]:
    """Where each word of a sentence is answered.

    A long sentence is seen in overlapping windows; a word is answered once, in the window that shows most around it.

    Args:
        windows: for each window, the word that each token is of; None for special tokens.
        subword: which of a word's tokens answers for it.

    Returns:
        for each window, word → place among its tokens. A word of which no window has a token is nowhere.
    """
    best: dict[int, tuple[float, int, int]] = {}
    for window, words in enumerate(windows):
        content = [place for place, word in enumerate(words) if word is not None]
        for word, (first, last) in _extents(words).items():
            left = float("inf") if window == 0 else first - content[0]
            right = float("inf") if window == len(windows) - 1 else content[-1] - last
            margin = min(left, right)
            if word not in best or margin > best[word][0]:
                best[word] = (margin, window, first if subword == "first" else last)
    found: list[dict[int, int]] = [{} for _ in windows]
    for word in sorted(best):
        _, window, place = best[word]
        found[window][word] = place
    return found


def _extents(words: Sequence[int | None]) -> dict[int, tuple[int, int]]:
    """Word → its first and last place."""
    found: dict[int, tuple[int, int]] = {}
    for place, word in enumerate(words):
        if word is not None:
            found[word] = (found[word][0] if word in found else place, place)
    return found
