"""Which model should serve: the rules of comparison and of the gate. Pure; traffic is somebody else's affair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from autoglm_api.conditions import Reason
from autoglm_api.endpoint import Gate
from autoglm_api.status import ServedModel

from .observation import Candidate

_BEGINNING = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Refusal:
    """Why the newest candidate does not replace the champion."""

    reason: Reason
    message: str
    digest: str


@dataclass(frozen=True)
class Choice:
    """What the candidates amount to.

    Attributes:
        winner: should be promoted; None = everything stays.
        refusal: why the newest other candidate is not.
        rejected: the candidate that would have won, had it not failed before.
    """

    winner: Candidate | None = None
    refusal: Refusal | None = None
    rejected: Candidate | None = None


def choose(
    candidates: Sequence[Candidate],
    champion: ServedModel | None,
    gate: Gate,
    *,
    rejected: Sequence[str] = (),
) -> Choice:
    """Choose among complete models.

    A pinned model wins as it is. Others are compared by metric, direction and test rows with the champion, or without
    a champion with the candidate that was there first.
    """
    others = sorted(
        (one for one in candidates if champion is None or one.model.digest != champion.digest),
        key=lambda one: (one.completed or _BEGINNING, one.model.study or ""),
    )
    pinned = next((one for one in others if one.completed is None), None)
    if pinned is not None:
        if pinned.model.digest in rejected:
            return Choice(rejected=pinned)
        return Choice(winner=pinned)
    tried = [one for one in others if one.model.digest not in rejected]
    first = next((one.model for one in tried if _broken_constraint(one, gate) is None), None)
    verdicts = [(one, _refusal(one, champion, first, gate)) for one in others]
    passed = [one for one, refusal in verdicts if refusal is None]
    winner = _best([one for one in passed if one.model.digest not in rejected])
    failed = _best([one for one in passed if one.model.digest in rejected])
    refused = [
        refusal
        for one, refusal in verdicts
        if refusal is not None and (champion is None or champion.since is None or _later(one, champion.since))
    ]
    return Choice(
        winner=winner, refusal=refused[-1] if refused else None, rejected=None if winner is not None else failed
    )


def improvement(value: float, over: float, direction: str) -> float:
    """By how much `value` is better, in the metric's unit; negative = worse."""
    return value - over if direction == "Maximize" else over - value


def comparable(one: ServedModel, other: ServedModel) -> bool:
    """Whether both have a value of the same metric, measured on the same test rows."""
    return None not in (one.value, other.value, one.metric, one.direction, one.test_digest) and (
        one.metric,
        one.direction,
        one.test_digest,
    ) == (other.metric, other.direction, other.test_digest)


def _later(candidate: Candidate, since: datetime) -> bool:
    """A model that lost before the champion came is no news."""
    return candidate.completed is None or candidate.completed > since


def _best(candidates: Sequence[Candidate]) -> Candidate | None:
    """The best of comparable candidates; of equals the one that was there first."""
    best: Candidate | None = None
    for one in candidates:
        if best is None:
            best = one
            continue
        value, known, direction = one.model.value, best.model.value, best.model.direction
        if value is not None and known is not None and direction and improvement(value, known, direction) > 0:
            best = one
    return best


def _refusal(
    candidate: Candidate, champion: ServedModel | None, first: ServedModel | None, gate: Gate
) -> Refusal | None:
    model = candidate.model
    broken = _broken_constraint(candidate, gate)
    if broken is not None:
        return Refusal(Reason.GATE_REFUSED, f"{_named(model)} is refused: {broken}", model.digest)
    if champion is not None:
        return _against_champion(model, champion, gate)
    if first is not None and model.digest != first.digest and not comparable(model, first):
        return Refusal(Reason.NOT_COMPARABLE, _incomparable(model, first), model.digest)
    return None


def _against_champion(model: ServedModel, champion: ServedModel, gate: Gate) -> Refusal | None:
    if not comparable(model, champion):
        return Refusal(Reason.NOT_COMPARABLE, _incomparable(model, champion), model.digest)
    assert model.value is not None
    assert champion.value is not None
    gained = improvement(model.value, champion.value, model.direction or "Maximize")
    if gained > 0 and gained >= gate.min_improvement:
        return None
    wanted = f"at least {gate.min_improvement:g} better" if gate.min_improvement else "better"
    sentence = (
        f"{_named(model)} is refused: {model.metric} {model.value:.6g} is not {wanted} than "
        f"the champion's {champion.value:.6g}"
    )
    return Refusal(Reason.GATE_REFUSED, sentence, model.digest)


def _broken_constraint(candidate: Candidate, gate: Gate) -> str | None:
    for limit in gate.constraints:
        measured = candidate.metrics.get(limit.metric)
        if measured is None:
            return f"the gate needs {limit.metric}, which the study did not measure"
        if not limit.violation(measured) <= 0:
            sign = "≤" if limit.operator == "LessOrEqual" else "≥"
            return f"{limit.metric} is {measured:.6g}, the gate wants {sign} {limit.value:g}"
    return None


def _incomparable(model: ServedModel, other: ServedModel) -> str:
    """The first thing in which they differ, as a sentence."""
    start = f"{_named(model)} cannot be compared with {_named(other)}"
    if other.metric is None:
        return f"{start}: that was pinned and has no measured value; pin this one to replace it"
    if (model.metric, model.direction) != (other.metric, other.direction):
        return f"{start}: {model.direction} {model.metric} against {other.direction} {other.metric}"
    if model.test_digest is None or other.test_digest is None:
        missing = model if model.test_digest is None else other
        return f"{start}: {_named(missing)} was measured on no test rows; give data.test to both"
    return f"{start}: they were measured on different test rows"


def _named(model: ServedModel) -> str:
    where = f"study {model.study}" if model.study else "model"
    return f"{where} ({model.digest.removeprefix('sha256:')[:8]})"
