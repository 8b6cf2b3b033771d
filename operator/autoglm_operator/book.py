"""One study's trials folded into counters: finished logical trials are summed up, only unfinished ones are kept."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from autoglm_api.attempts import Export, Fatal, Limits, Owner, StudyAttribute, TrialAttribute
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_api.status import BestTrial, TrialCounts
from autoglm_api.study import StudySpec
from autoglm_store import ledger
from autoglm_store.front import front, spread
from autoglm_store.ledger import FIXED_PARAMETERS

from .counts import SPEC_ATTRIBUTE, Known, StudyRows
from .observation import Attempt, StoredStudy, Trials

TOP = 10
MESSAGE_SHOWN = 400
FRONT = 500
"""Members of a Pareto front that are kept; of a larger one, those that are best by the first objective."""


class TrialBook:
    """What is kept of a study between two looks at the database.

    Args:
        finished: called with the seconds of each attempt that finishes while we watch; not for those found finished.
    """

    def __init__(self, finished: Callable[[Run, float], None] | None = None) -> None:
        self._finished = finished
        self._attributes: dict[str, Any] = {}
        self._run: Run | None = None
        self._spec: StudySpec | None = None
        self._last_id = 0
        self._settled = TrialCounts()
        self._gpu = (0.0, 0.0)
        self._top: list[FrozenTrial] = []
        self._failed: FrozenTrial | None = None
        self._front: list[FrozenTrial] = []
        self._chains: defaultdict[int, dict[int, FrozenTrial]] = defaultdict(dict)
        self._first_seen: dict[int, datetime] = {}
        self._claims: defaultdict[str, set[int]] = defaultdict(set)
        self._results: defaultdict[str, int] = defaultdict(int)
        self._stored: StoredStudy | None = None

    @property
    def known(self) -> Known:
        """How far the study has been read."""
        attempts = [attempt for chain in self._chains.values() for attempt in chain.values()]

        def ids(state: TrialState) -> tuple[int, ...]:
            return tuple(attempt._trial_id for attempt in attempts if attempt.state is state)  # noqa: SLF001

        return Known(self._last_id, running_ids=ids(TrialState.RUNNING), waiting_ids=ids(TrialState.WAITING))

    def fold(self, rows: StudyRows, now: datetime) -> None:
        """Take in what is new; rows that were taken in already change nothing, and most looks bring nothing else."""
        if not rows.attempts and all(self._attributes.get(key) == value for key, value in rows.attributes.items()):
            return
        first, self._stored = self._run is None, None
        self._attributes |= rows.attributes
        if StudyAttribute.RUN in rows.attributes and SPEC_ATTRIBUTE in rows.attributes:
            self._run = Run.model_validate(self._attributes.pop(StudyAttribute.RUN))
            self._spec = StudySpec.model_validate(self._attributes.pop(SPEC_ATTRIBUTE))
        if self._run is None:
            return  # somebody is still creating it; the next look starts from the beginning
        for attempt in rows.attempts:
            self._take(attempt, now, self._run, quiet=first)
        self._settle(self._run)

    def _take(self, attempt: FrozenTrial, now: datetime, run: Run, *, quiet: bool) -> None:
        self._last_id = max(self._last_id, attempt._trial_id)  # noqa: SLF001
        self._chains[ledger.origin_of(attempt)][attempt.number] = attempt
        owner = _owner(attempt)
        if owner is not None:
            self._claims[owner.identity].add(attempt.number)
        if attempt.state is TrialState.RUNNING:
            self._first_seen.setdefault(attempt.number, now)
        if not attempt.state.is_finished():
            return
        self._first_seen.pop(attempt.number, None)
        if owner is not None and attempt.state is not TrialState.FAIL:
            self._results[owner.identity] += 1
        if self._finished and not quiet and attempt.datetime_start and attempt.datetime_complete:
            self._finished(run, (attempt.datetime_complete - attempt.datetime_start).total_seconds())

    def _settle(self, run: Run) -> None:
        limits = self._limits()
        everything = limits.model_copy(update={"max": 2**31})
        settled: list[FrozenTrial] = []
        for origin, chain in list(self._chains.items()):
            attempts = [chain[number] for number in sorted(chain)]
            logical = ledger.logical_trials(attempts, everything)
            unfinished = any(not attempt.state.is_finished() for attempt in attempts)
            if unfinished or any(trial.retry_due(limits) for trial in logical):
                continue
            del self._chains[origin]
            self._settled = _sum(self._settled, ledger.counts(attempts, everything))
            used, wasted = ledger.gpu_seconds(attempts)
            self._gpu = (self._gpu[0] + used, self._gpu[1] + wasted)
            settled += attempts
            self._remember_failure(trial.last for trial in logical if trial.phase(limits) == "failed")
        if settled:
            self._top = ledger.top([*self._top, *settled], run, TOP)
            self._front = front([*self._front, *settled], run)[:FRONT]

    def _remember_failure(self, attempts: Iterable[FrozenTrial]) -> None:
        """Of all that failed for good, the one that ended last; whoever reads all at once finds the same."""
        known = [] if self._failed is None else [self._failed]
        self._failed = max([*known, *attempts], key=_ended, default=None)

    def stored(self) -> StoredStudy | None:
        """What the planner needs of it; None while it is not completely created."""
        if self._stored is None and self._run is not None and self._spec is not None:
            self._stored = self._as_stored(self._run, self._spec)
        return self._stored

    def _as_stored(self, run: Run, spec: StudySpec) -> StoredStudy:
        export, fatal = self._attributes.get(StudyAttribute.EXPORT), self._attributes.get(StudyAttribute.FATAL)
        return StoredStudy(
            run=run,
            limits=self._limits(),
            spec=spec,
            trials=self._trials(run),
            export=Export.model_validate(export) if export else None,
            fatal=Fatal.model_validate(fatal) if fatal else None,
            exhausted=bool(self._attributes.get(StudyAttribute.EXHAUSTED)),
            warm_start=self._attributes.get(StudyAttribute.WARM_START),
        )

    def _limits(self) -> Limits:
        return Limits.model_validate(self._attributes[StudyAttribute.LIMITS])

    def _trials(self, run: Run) -> Trials:
        limits, attempts = self._limits(), self._open()
        left = limits.model_copy(update={"max": limits.max - self._settled.finished})
        used, wasted = ledger.gpu_seconds(attempts)
        return Trials(
            counts=_sum(self._settled, ledger.counts(attempts, left)),
            top=tuple(map(_shown, ledger.top([*self._top, *attempts], run, TOP))),
            front=tuple(map(_shown, spread(front([*self._front, *attempts], run), run))),
            running=tuple(self._running(attempt) for attempt in attempts if attempt.state is TrialState.RUNNING),
            due=tuple(attempt.number for attempt in ledger.retries_due(attempts, left)),
            finished_by=dict(self._results),
            last_failure=None if self._failed is None else _why(self._failed),
            gpu_seconds_used=self._gpu[0] + used,
            gpu_seconds_wasted=self._gpu[1] + wasted,
        )

    def _open(self) -> list[FrozenTrial]:
        attempts = [attempt for chain in self._chains.values() for attempt in chain.values()]
        return sorted(attempts, key=lambda attempt: attempt.number)

    def _running(self, attempt: FrozenTrial) -> Attempt:
        owner = _owner(attempt)
        chain = self._chains[ledger.origin_of(attempt)].values()
        return Attempt(
            number=attempt.number,
            first_seen=self._first_seen[attempt.number],
            owner=owner,
            claims_before=sum(number < attempt.number for number in self._claims[owner.identity]) if owner else 0,
            exhausted_memory=any(ledger.cause_of(other) is Cause.OUT_OF_MEMORY for other in chain),
            fixed=FIXED_PARAMETERS in attempt.system_attrs or ledger.retry_of(attempt) is not None,
            empty=not attempt.params,
        )


def _owner(attempt: FrozenTrial) -> Owner | None:
    written = attempt.user_attrs.get(TrialAttribute.OWNER)
    return None if written is None else Owner.model_validate(written)


def _ended(attempt: FrozenTrial) -> tuple[datetime, int]:
    assert attempt.datetime_complete is not None, "it is finished"
    return attempt.datetime_complete, attempt.number


def _why(attempt: FrozenTrial) -> str:
    message = " ".join(str(attempt.user_attrs.get(TrialAttribute.MESSAGE) or "no message").split())
    return f"trial {ledger.origin_of(attempt)}: {ledger.cause_of(attempt)}: {message[:MESSAGE_SHOWN]}"


def _shown(attempt: FrozenTrial) -> BestTrial:
    return BestTrial(
        trial=ledger.origin_of(attempt),
        value=attempt.values[0],
        values=tuple(attempt.values) if len(attempt.values) > 1 else None,
        parameters=attempt.params,
        metrics=attempt.user_attrs.get(TrialAttribute.METRICS, {}),
    )


def _sum(left: TrialCounts, right: TrialCounts) -> TrialCounts:
    return TrialCounts(**{name: getattr(left, name) + getattr(right, name) for name in TrialCounts.model_fields})
