"""`recipe.json` of a model that is asked and not trained: everything between a question and its answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Annotated

from pydantic import Field, field_validator

from autoglm_api.base import Model
from autoglm_api.study import ModelEndpoint

from .decoding import Decoding
from .examples import Example, Nearest
from .template import Template

RECIPE = "recipe.json"


class Recipe(Model):
    """How a question is asked.

    Attributes:
        template: its text, see `Template`.
        labels: what an answer can be; empty = any text.
        examples: those that are shown, the most important last; or those that are searched.
        nearest: of `examples` the so many most like the question are shown; 0 = all of them, always.
        decoding: how the answer is chosen.
        endpoint: who answers; None = the weights beside this file.
    """

    template: str
    labels: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()
    nearest: Annotated[int, Field(ge=0)] = 0
    decoding: Decoding
    endpoint: ModelEndpoint | None = None

    @field_validator("template")
    @classmethod
    def _is_one(cls, text: str) -> str:
        return str(Template.read(text))

    @cached_property
    def _index(self) -> Nearest:
        return Nearest([example.prompt for example in self.examples])

    def shown(self, prompt: str) -> list[Example]:
        """The examples before `prompt`, the most important last."""
        if not self.nearest:
            return list(self.examples)
        return [self.examples[index] for index in self._index.find(prompt, self.nearest)]

    def ask(self, prompt: str, fits: Callable[[str], bool] = lambda _: True) -> str:
        """What the model reads. While it does not fit, the least important example is left out."""
        examples = [(example.prompt, example.answer) for example in self.shown(prompt)]
        return Template.read(self.template).render(prompt, examples, labels=self.labels, fits=fits)
