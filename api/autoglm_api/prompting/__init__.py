"""How a question becomes a prompt: templates, examples, decoding. Trainer and server share these rules."""

from __future__ import annotations

from .decoding import Decoding
from .examples import Example, Nearest
from .labels import match_label
from .recipe import RECIPE, Recipe
from .template import LABELS, PLACE, Template

__all__ = ["LABELS", "PLACE", "RECIPE", "Decoding", "Example", "Nearest", "Recipe", "Template", "match_label"]
