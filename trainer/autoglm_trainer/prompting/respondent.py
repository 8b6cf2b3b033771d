"""Whoever answers prompts: a model in memory, or one behind an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from autoglm_api.prompting import Decoding


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        prompt_tokens: as the model counts them; NaN where nobody says.
        seconds: from asking to the whole answer, without waiting for a turn; of a batch, each one's share.
        refused: why there is no answer to this prompt, in the endpoint's words.
    """

    text: str
    prompt_tokens: float
    seconds: float
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint; `Response(**…)` reads it."""
        return asdict(self)


class Respondent(Protocol):
    """Answers the same prompt the same way, as far as it is in its hands."""

    @property
    def together(self) -> int:
        """How many prompts are best asked at once."""

    @property
    def times_itself(self) -> bool:
        """Whether a response's `seconds` are those of a prompt that is asked alone."""

    def answer_tokens(self, answers: Sequence[str]) -> int:
        """The length in tokens that the longest of `answers` has, or surely does not exceed."""

    @property
    def max_tokens(self) -> int:
        """The longest prompt with its answer; 0 where only the endpoint knows."""

    def fits(self, prompt: str, max_new_tokens: int) -> bool:
        """Whether prompt and answer find room; an endpoint says so itself.

        Raises:
            Infeasible: there would be no room for any prompt.
        """

    def answer(
        self, prompts: Sequence[str], decoding: Decoding, *, labels: Sequence[str], heartbeat: Callable[[], None]
    ) -> list[Response]:
        """One response a prompt, in order.

        Args:
            prompts: whole ones.
            decoding: how to answer.
            labels: the only texts that may be written, where that is in its hands; empty = any text.
            heartbeat: called once a second at least; what it raises ends everything.

        Raises:
            SpecError: no request will ever succeed: the key is refused, there is no such model.
            EndpointUnreachable: it does not answer now, after many tries.
        """
