"""How an answer is chosen, token by token."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field

from autoglm_api.base import Model


class Decoding(Model):
    """What a model is told beside the prompt.

    Attributes:
        kind: `greedy` = always the likeliest token; `sample` = drawn; `beams` = the likeliest of several beginnings.
        temperature, top_p, top_k: of `sample`; `top_k` 0 = no limit.
        num_beams: of `beams`.
        max_new_tokens: the longest answer, in tokens.
        seed: of `sample`; with the prompt it decides what is drawn.
    """

    kind: Literal["greedy", "sample", "beams"] = "greedy"
    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Field(ge=0)] = 0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    num_beams: Annotated[int, Field(ge=1)] = 1
    max_new_tokens: Annotated[int, Field(ge=1)]
    seed: int = 0

    def seed_of(self, prompt: str) -> int:
        """What is drawn for a prompt hangs on that prompt alone, so the same one always gets the same answer."""
        digest = hashlib.sha256(f"{self.seed}/{prompt}".encode()).digest()
        return int.from_bytes(digest[:4], "big") >> 1
