"""How prompts become tokens and tokens answers; trainer and server share these rules, and the file that states them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from .base import Model

PROMPT = "prompt.json"
# Prompts that go through the model together.
BATCH = 16


class PromptFrame(Model):
    """`prompt.json` of a model: token ids around every prompt, as the model's chat template or a line's end has them.

    Attributes:
        before: what every prompt begins with.
        after: what stands between a prompt and its answer.
        ends: tokens that end an answer; the first one ended the answers of the training rows.
        pad: the token that fills up shorter prompts of a batch, on the left.
        room: how many tokens a prompt may have, so that it and the longest answer fit into `max_length`.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    ends: Annotated[tuple[int, ...], Field(min_length=1)]
    pad: int
    room: Annotated[int, Field(ge=1)]

    def around(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """What the model reads before it answers. A longer prompt than `room` keeps its end."""
        return (*self.before, *prompt[-self.room :], *self.after)

    def answer(self, written: Sequence[int]) -> tuple[tuple[int, ...], bool]:
        """The tokens up to the first that ends an answer, without it, and whether there is one."""
        for place, token in enumerate(written):
            if token in self.ends:
                return tuple(written[:place]), True
        return tuple(written), False

    def pad_left(self, prompts: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and mask, (prompts, tokens) each; answers are written at the right, hence padding on the left."""
        longest = max(map(len, prompts))
        ids = [[self.pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
        return ids, [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]


def batches(lengths: Sequence[int], *, penalised: bool) -> Iterator[list[int]]:
    """Indices of prompts that are answered together: of like length, so that little is padded.

    With `penalised`, of one length: a penalty on repetition would take the padding for what was said before, and the
    end of a text is often its padding.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batch and (len(batch) == BATCH or (penalised and lengths[index] != lengths[batch[0]])):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


class AllowedTokens:
    """What may be written where an answer must be one of a few texts.

    Args:
        texts: the token ids of each.
        ends: tokens that end an answer.

    Raises:
        ValueError: two texts have the same tokens; its arguments are their indices.
    """

    def __init__(self, texts: Sequence[Sequence[int]], ends: Sequence[int]) -> None:
        self._end = ends[0]
        self._places = {(*text, self._end): index for index, text in reversed([*enumerate(texts)])}
        for index, text in enumerate(texts):
            if (first := self._places[*text, self._end]) != index:
                raise ValueError(first, index)
        self._next: dict[tuple[int, ...], list[int]] = {}
        for whole in sorted(self._places):
            for place, token in enumerate(whole):
                after = self._next.setdefault(whole[:place], [])
                if token not in after:
                    after.append(token)

    def after(self, written: Sequence[int]) -> list[int]:
        """The tokens that may come next; behind a finished text only its end."""
        return self._next.get(tuple(written), [self._end])

    def place(self, tokens: Sequence[int]) -> int | None:
        """The index of the text that was written, without its end."""
        return self._places.get((*tokens, self._end))
