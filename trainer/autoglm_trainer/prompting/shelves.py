"""Templates by purpose and language, and the pieces that new ones are bred from; the texts are in `library/`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ruamel.yaml import YAML

from autoglm_api.words import is_ideographic

Purpose = Literal["classification", "answering", "summary"]
Language = Literal["en", "zh"]
_MOSTLY = 0.3


@dataclass(frozen=True)
class Shelf:
    """What there is for one purpose in one language.

    Attributes:
        templates: by the names of the catalog; the first, `plain`, says no more than what is needed.
        sentences: what an instruction may say besides.
        blocks: ways to write a question and its answer.
    """

    templates: Mapping[str, str]
    sentences: tuple[str, ...]
    blocks: tuple[str, ...]


def shelf(purpose: Purpose, language: Language) -> Shelf:
    """Templates and pieces for a purpose in a language."""
    found = _library(language)[purpose]
    return Shelf(found["templates"], tuple(found["sentences"]), tuple(found["blocks"]))


def rewrite_request(language: Language) -> str:
    """What a model is told that shall say an instruction in other words."""
    request: str = _library(language)["rewrite"]
    return request


@cache
def _library(language: Language) -> Mapping[str, Any]:
    text = (files(__package__) / "library" / f"{language}.yaml").read_text(encoding="utf-8")
    found: Mapping[str, Any] = YAML(typ="safe", pure=True).load(text)
    return found


def language_of(texts: Sequence[str]) -> Language:
    """Chinese where three of ten characters are ideographs or more, else English."""
    characters = "".join(texts)
    ideographs = sum(map(is_ideographic, characters))
    return "zh" if ideographs >= _MOSTLY * max(1, len(characters)) else "en"
