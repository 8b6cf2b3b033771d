"""Whatever happens, in whatever order: the plan comes to rest, stays within its limits, and moves or says why not."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from optuna.trial import TrialState
from tests.operator.simulation import CONNECTED, DOWN, Simulation

from autoglm_api.exits import Cause
from autoglm_operator.book import TrialBook
from autoglm_operator.plan import is_over, plan
from autoglm_store import ledger

FUZZ_SECONDS = 3600  # for `make fuzz`; the gate's examples take a few seconds


class StudyMachine(RuleBasedStateMachine):
    """Workers, nodes, users and the database do what they like; between any two events the operator reconciles."""

    def __init__(self) -> None:
        super().__init__()
        self.world = Simulation()
        self.most_max = 6
        self.settled = self.world.settle()

    def _settle(self) -> None:
        self.settled = self.world.settle()

    @rule()
    def pods_start(self) -> None:
        self.world.start_pods()
        self._settle()

    @rule(data=st.data(), value=st.floats(0, 1))
    def a_worker_moves_on(self, data: st.DataObject, value: float) -> None:
        """A worker claims, finishes, or leaves."""
        world, pods = self.world, [p for p in self.world.alive() if "-w" in p.name]
        if not pods or not world.storage.connected or not world.attributes:
            return
        pod = data.draw(st.sampled_from(pods))
        running = world.running_of(pod)
        if running is None:
            if world.claim_trial(pod) is None:
                world.exit(pod, 0)
        else:
            state, kept = data.draw(
                st.sampled_from([(TrialState.COMPLETE, value), (TrialState.COMPLETE, value), (TrialState.PRUNED, None)])
            )
            world.end(running, state, values=None if kept is None else [kept])
        self._settle()

    @rule(value=st.floats(0, 1))
    def workers_go_on_undisturbed(self, value: float) -> None:
        """A while in which nothing happens but trials, so that ends are reached too."""
        world = self.world
        if not world.storage.connected or not world.attributes:
            return
        for _ in range(12):
            world.start_pods()
            for pod in [pod for pod in world.alive() if "-w" in pod.name]:
                running = world.running_of(pod)
                if running is not None:
                    world.end(running, TrialState.COMPLETE, values=[value])
                elif world.claim_trial(pod) is None:
                    world.exit(pod, 0)
            self._settle()

    @rule(data=st.data(), how=st.sampled_from(["vanish", "crash", "oom", "released", "error"]))
    def a_worker_dies(self, data: st.DataObject, how: str) -> None:
        world, pods = self.world, self.world.alive()
        if not pods:
            return
        pod = data.draw(st.sampled_from(pods))
        match how:
            case "vanish":
                world.vanish(pod)
            case "crash":
                world.exit(pod, 1)
            case "oom":
                world.exit(pod, 137, reason="OOMKilled")
            case "released":
                world.exit(pod, 75)
            case "error":
                running = world.running_of(pod)
                if running is not None and world.storage.connected:
                    world.end(running, TrialState.FAIL, cause=Cause.TASK_ERROR)
        self._settle()

    @rule(maximum=st.integers(1, 9), parallel=st.integers(1, 4))
    def somebody_edits(self, maximum: int, parallel: int) -> None:
        self.most_max = max(self.most_max, maximum)
        self.world.edit_trials(max=maximum, parallel=parallel)
        self._settle()

    @rule(suspend=st.booleans())
    def somebody_suspends(self, suspend: bool) -> None:
        self.world.edit(suspend=suspend)
        self._settle()

    @rule()
    def the_database_comes_or_goes(self) -> None:
        self.world.storage = DOWN if self.world.storage is CONNECTED else CONNECTED
        self._settle()

    @rule()
    def quota_comes_or_goes(self) -> None:
        self.world.rejects = not self.world.rejects
        self._settle()

    @rule(seconds=st.sampled_from([1, 5, 61, 400, 4000]))
    def time_passes(self, seconds: int) -> None:
        self.world.pass_time(seconds)
        self._settle()

    @precondition(lambda self: self.world.active("export") and self.world.storage.connected)
    @rule(works=st.booleans())
    def the_export_ends(self, works: bool) -> None:
        world = self.world
        world.start_pods()
        [job] = world.active("export")
        [pod] = [pod for pod in world.pods.values() if pod.job_uid == job.uid]
        if works:
            world.export()
        if pod.phase == "Running":
            world.exit(pod, 0 if works else 70)
        self._settle()

    @invariant()
    def planning_again_gives_no_actions(self) -> None:
        assert not plan(self.world.observe(), self.world.now, self.world.settings).actions

    @invariant()
    def never_more_jobs_than_parallel(self) -> None:
        spec = self.world.study.spec
        assert spec is not None
        if self.world.storage.connected or spec.suspend:  # without storage nobody knows whose trial is the youngest
            assert len(self.world.active()) <= (0 if spec.suspend else spec.trials.parallel)

    @invariant()
    def never_more_trials_than_max(self) -> None:
        assert sum(map(ledger.is_counted, self.world.trials.values())) <= max(self.most_max, 3)

    @invariant()
    def progress_or_a_reason(self) -> None:
        world = self.world
        if is_over(world.study.status):
            return
        moving = world.active() or world.active("export")
        reason = any(world.says(type_) for type_ in ("Stalled", "Suspended", "Queued", "Failed"))
        assert moving or reason or not world.storage.connected or self.settled.requeue_seconds is not None

    @invariant()
    def reading_step_by_step_is_reading_at_once(self) -> None:
        world = self.world
        if world.attributes and world.storage.connected:
            fresh, grown = world.stored(TrialBook()), world.observe().stored
            assert fresh is not None
            assert grown is not None
            assert fresh.trials.counts == grown.trials.counts
            assert fresh.trials.due == grown.trials.due
            assert fresh.trials.last_failure == grown.trials.last_failure
            assert [best.value for best in fresh.trials.top] == [best.value for best in grown.trials.top]


TestStudies = StudyMachine.TestCase
TestStudies.settings = settings(max_examples=settings.default.max_examples * 3 // 10, stateful_step_count=30)
TestStudies.pytestmark = [pytest.mark.timeout(FUZZ_SECONDS)]
