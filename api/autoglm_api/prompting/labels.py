"""From an answer in words to one of a few labels."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from autoglm_api.words import is_ideographic


def match_label(answer: str, labels: Sequence[str]) -> str | None:
    """The label that `answer` is, or else the one that it names first; None where it names none.

    Case, width of characters and punctuation do not matter, nor does `_` for a space. Of labels that begin at one place
    the longest counts; a label is no part of a longer word, but for scripts without spaces. Signs count where nothing
    else tells labels apart (`C`, `C++`), and for labels that are nothing else (`+`), where one of these alone is there.
    """
    answer = answer.strip()
    if answer in labels:
        return answer
    spelled, said = _folded(answer), _plain(answer)
    named: list[tuple[int, int, bool, int, str]] = []
    signs = []
    for label in labels:
        own, plain = _folded(label), _plain(label)
        if plain and (place := _place(said, plain)) >= 0:
            # Last the longer one, since `C++` spells `C` as well.
            named.append((place, -len(plain), own not in spelled, -len(own), label))
        elif not plain and own in spelled:
            signs.append(label)
    if named:
        return min(named)[-1]
    return signs[0] if len(signs) == 1 else None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _plain(text: str) -> str:
    return " ".join("".join(each if each.isalnum() else " " for each in _folded(text)).split())


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
