"""Whatever users, controllers and crashes do to an endpoint, in whatever order: what must not happen, does not."""

from __future__ import annotations

import contextlib
from datetime import timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.operator.endpoint.world import MemoryKube, World, digest_of, short

from autoglm_api.names import LABEL_DIGEST
from autoglm_api.status import ServedModel
from autoglm_operator.endpoint.candidates import comparable, improvement
from autoglm_operator.kube import DEPLOYMENTS, JOBS, SERVICES, STUDIES, Object, Resource, Unavailable

MIN_IMPROVEMENT = 0.05
VALUES = st.sampled_from([0.1, 0.5, 0.52, 0.54, 0.56, 0.9])


class WatchedKube(MemoryKube):
    """Looks at every move of the Service at the moment it is made."""

    def __init__(self, machine: EndpointMachine) -> None:
        super().__init__()
        self.machine = machine

    async def apply(self, resource: Resource, _namespace: str | None, body: Object) -> Object:
        answer = await super().apply(resource, _namespace, body)
        if resource is SERVICES:
            self.machine.service_moved(body["spec"]["selector"][LABEL_DIGEST])
        return answer


class EndpointMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World(replicas=2, gate={"minImprovement": MIN_IMPROVEMENT})
        watched = WatchedKube(self)
        watched.objects = self.world.kube.objects
        self.world.kube = watched
        self.models: dict[str, ServedModel] = {}
        self.broken: set[str] = set()
        self.champion: str | None = None
        self.number = 0

    @initialize(value=VALUES)
    def begin(self, value: float) -> None:
        self.study_completes(value, rows="t", broken=False)

    # ---- what is watched

    def service_moved(self, after: str) -> None:
        deployment = self.world.deployment(after)
        if after == self.champion:
            return  # the same model again: its Service was lost
        assert deployment is not None
        status = deployment["status"]
        wanted = deployment["spec"]["replicas"]
        assert wanted == self.world.endpoint["spec"]["replicas"]
        assert status["readyReplicas"] >= wanted, "the Service moved to servers that are not ready"
        assert status["observedGeneration"] == deployment["metadata"]["generation"]
        assert after not in self.broken, "a model that is never ready serves"
        if self.champion is not None:
            old, new = self.models[self.champion], self.models[after]
            assert comparable(new, old), "an incomparable model was promoted"
            assert new.value is not None
            assert old.value is not None
            gained = improvement(new.value, old.value, "Maximize")
            assert gained >= MIN_IMPROVEMENT, "the gate was ignored"
        self.champion = after

    @invariant()
    def the_service_stays_with_the_champion(self) -> None:
        services = self.world.kube.all(SERVICES)
        assert not services or services[0]["spec"]["selector"][LABEL_DIGEST] == self.champion

    @invariant()
    def there_are_never_more_than_three_deployments_and_one_copy(self) -> None:
        assert len(self.world.kube.all(DEPLOYMENTS)) <= 3
        assert len(self.world.kube.all(JOBS)) <= 2

    # ---- the operator

    @rule()
    def reconcile(self) -> None:
        self.world.pass_once()

    @rule(writes=st.integers(0, 6))
    def reconcile_and_die(self, writes: int) -> None:
        self.world.kube.break_after = writes
        with contextlib.suppress(Unavailable):
            self.world.pass_once()
        self.world.kube.break_after = None

    @rule()
    def reconcile_twice_writes_once(self) -> None:
        for _ in range(6):
            before = len(self.world.kube.writes)
            self.world.pass_once()
        assert len(self.world.kube.writes) == before, self.world.kube.writes[before:]

    @rule()
    def all_goes_well_for_a_while(self) -> None:
        for _ in range(4):
            self.world.pass_once()
            self.jobs_end("Complete")
            self.servers_become_ready()

    # ---- controllers and time

    @rule(outcome=st.sampled_from(["Complete", "Complete", "Failed"]))
    def jobs_end(self, outcome: str) -> None:
        self.world.finish_jobs(outcome)

    @rule()
    def servers_become_ready(self) -> None:
        self.world.make_ready(but=frozenset(self.broken))

    @rule(ready=st.integers(0, 1))
    def servers_crash(self, ready: int) -> None:
        for deployment in self.world.kube.all(DEPLOYMENTS):
            if deployment.get("status"):
                self.world.set_ready(deployment, min(ready, deployment["spec"]["replicas"]))

    @rule(seconds=st.sampled_from([1, 11, 301, 601]))
    def time_passes(self, seconds: int) -> None:
        self.world.now += timedelta(seconds=seconds)

    # ---- users

    @rule(
        value=VALUES,
        rows=st.sampled_from(["t", "t", "t", "t", "t", "u", None]),
        broken=st.sampled_from([False, False, False, True]),
    )
    def study_completes(self, value: float, rows: str | None, broken: bool) -> None:
        self.number += 1
        name, digest = f"study-{self.number}", digest_of(self.number)
        test_digest = rows * 64 if rows else None
        self.world.add_study(name, value, number=self.number, test_digest=test_digest)
        self.models[short(digest)] = ServedModel(
            digest=digest, uri="", metric="f1_macro", direction="Maximize", value=value, test_digest=test_digest
        )
        if broken:
            self.broken.add(short(digest))

    @rule(data=st.data())
    @precondition(lambda self: self.world.kube.all(STUDIES))
    def study_goes(self, data: st.DataObject) -> None:
        study = data.draw(st.sampled_from(self.world.kube.all(STUDIES)))
        what = data.draw(st.sampled_from(["delete", "unlabel", "never"]))
        if what == "delete":
            self.world.kube.remove(STUDIES, study["metadata"]["name"])
        elif what == "unlabel":
            study["metadata"]["labels"] = {}
        else:
            study["spec"] = {"promotion": {"policy": "Never"}}

    @rule(replicas=st.integers(0, 3))
    def scale(self, replicas: int) -> None:
        self.world.edit(replicas=replicas)

    @rule(image=st.sampled_from(["a:1", "b:2"]))
    def change_the_image(self, image: str) -> None:
        self.world.edit(image=image)

    @rule()
    def lose_the_status(self) -> None:
        if self.champion is None or self.world.deployment(self.champion) is not None:
            self.world.endpoint.pop("status", None)

    @rule()
    def lose_the_service(self) -> None:
        champion = self.world.status.champion
        if champion is not None and short(champion.digest) == self.champion:
            self.world.kube.remove(SERVICES, "sentiment")

    # ---- the end

    def teardown(self) -> None:
        """Left alone, with working controllers, it comes to rest, and no healthy better model is left out."""
        if self.world.endpoint["spec"]["replicas"] == 0:
            self.world.edit(replicas=1)
        for _ in range(120):
            before = len(self.world.kube.writes)
            self.world.pass_once()
            changed = self.world.finish_jobs() + self.world.make_ready(but=frozenset(self.broken))
            self.world.now += timedelta(seconds=61)
            if not changed and len(self.world.kube.writes) == before and not self.world.status.candidate:
                break
        else:
            raise AssertionError(f"never comes to rest: {self.world.kube.writes[-10:]}")
        self._nobody_better_is_left_out()

    def _nobody_better_is_left_out(self) -> None:
        rejected = self.world.endpoint["metadata"].get("annotations", {}).get("autoglm.io/rejected", "")
        for study in self.world.kube.all(STUDIES):
            if study["metadata"]["labels"].get("app") != "sentiment" or study["spec"]:
                continue
            digest = study["status"]["model"]["digest"]
            if short(digest) in self.broken or digest in rejected:
                continue
            assert self.champion is not None, "a healthy model waits and nothing serves"
            mine, known = self.models[short(digest)], self.models[self.champion]
            if comparable(mine, known) and mine.value is not None and known.value is not None:
                assert mine.value - known.value < MIN_IMPROVEMENT, "a better model is left out"


EndpointMachine.TestCase.settings = settings(
    max_examples=settings.default.max_examples * 4 // 10, stateful_step_count=30
)
TestEndpoint = EndpointMachine.TestCase
