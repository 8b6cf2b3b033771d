"""From an answer in words to one of a few labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from autoglm_api.words import is_ideographic


def match_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label that `answer` is, or else the one that it names first; None where it names none.

    Case, width of characters and punctuation do not matter, nor does `_` for a space. Of labels that begin at one place
    the longest counts; a label is no part of a longer word, but for scripts without spaces.
    """
    said = _plain(answer)
    found: tuple[int, int, str] | None = None
    for label in labels:
        plain = _plain(label)
        if said == plain:
            return label
        place = _place(said, plain) if plain else -1
        if place >= 0 and (found is None or (place, -len(plain)) < found[:2]):
            found = (place, -len(plain), label)
    return found[2] if found else None


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join("".join(each if each.isalnum() else " " for each in folded).split())


def _place(text: str, label: str) -> int:
    """Where `label` stands in `text` as words of its own; -1 = nowhere."""
    place = text.find(label)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(label) : place + len(label) + 1]
        if _parts(before, label[0]) and _parts(label[-1], after):
            return place
        place = text.find(label, place + 1)
    return -1


def _parts(left: str, right: str) -> bool:
    """Whether a word may end between these characters; either may be none."""
    return not left or not right or left == " " or right == " " or is_ideographic(left) or is_ideographic(right)
