"""From the logits of an answer's first and last token to the answer; trainer and server decide by these rules alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# Starts and ends that are tried with each other.
_BEST = 20


@dataclass(frozen=True)
class Span:
    """A candidate answer in one window.

    Attributes:
        first: index of its first answered token. last: of its last; the same for one token.
        score: sum of the two logits; comparable between the windows of one context.
        probability: of this start times of this end, within the window.
    """

    first: int
    last: int
    score: float
    probability: float


@dataclass(frozen=True)
class Window:
    """What one window of a context says: its best span, and that the answer is not in it.

    The last answered token of a window is no place in the context: both logits there say `no answer`.
    """

    span: Span | None
    absent: float
    absent_probability: float


def read_window(starts: Sequence[float], ends: Sequence[float], max_tokens: int) -> Window:
    """The best span of a window.

    Args:
        starts: logits of each answered token being the answer's first, the no-answer place last.
        ends: the same for its last token.
        max_tokens: the longest answer.
    """
    null = len(starts) - 1
    total = _log_sum(starts) + _log_sum(ends)
    best: tuple[float, int, int] | None = None
    for first in _top(starts[:null]):
        for last in _top(ends[:null]):
            if first <= last < first + max_tokens:
                candidate = (starts[first] + ends[last], -first, -last)
                best = candidate if best is None else max(best, candidate)
    absent = starts[null] + ends[null]
    span = None
    if best is not None:
        score, first, last = best
        span = Span(-first, -last, score, math.exp(score - total))
    return Window(span, absent, math.exp(absent - total))


def choose(windows: Sequence[Window], *, may_be_absent: bool, threshold: float) -> tuple[int, Span] | None:
    """The window and span of the answer, or None for no answer.

    There is none if even the window that is least sure of it prefers that, by more than `threshold`, to the best span;
    never, where the training rows all have answers.
    """
    spans = [(index, window.span) for index, window in enumerate(windows) if window.span is not None]
    if not spans:
        return None
    index, span = max(spans, key=lambda found: (found[1].score, -found[0]))
    if may_be_absent and min(window.absent for window in windows) - span.score > threshold:
        return None
    return index, span


def _top(logits: Sequence[float]) -> list[int]:
    return sorted(range(len(logits)), key=lambda index: (-logits[index], index))[:_BEST]


def _log_sum(logits: Sequence[float]) -> float:
    highest = max(logits)
    return highest + math.log(sum(math.exp(logit - highest) for logit in logits))
