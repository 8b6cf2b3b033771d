"""Reading Optuna's tables: only at the known revision, and what is read agrees with Optuna's own view."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import psycopg
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from tests.operator.simulation import make_spec
from tests.postgres import PostgresServer, start_postgres
from tests.waiting import until

from autoglm_api.attempts import Fatal, Owner, TrialAttribute
from autoglm_api.exits import Cause
from autoglm_api.run import Run
from autoglm_api.run import limits as limits_of
from autoglm_operator.actions import (
    CreateRetry,
    CreateStudy,
    DeleteTrials,
    FailAttempt,
    StudyRef,
    VoidAttempt,
    WriteFatal,
    WriteLimits,
)
from autoglm_operator.databases import Away, Databases
from autoglm_operator.observation import StoredStudy
from autoglm_operator.planning.door import frozen_run
from autoglm_operator.settings import Settings
from autoglm_operator.trials import TrialAction, apply_to_trials
from autoglm_store import ledger
from autoglm_store.connection import load_study
from autoglm_store.errors import SchemaMismatch
from autoglm_store.front import front, spread
from autoglm_store.schema import SCHEMA_REVISION

NAME = "team-a/intents/0badcafe"
REF = StudyRef("team-a", "autoglm-storage", "url", NAME)
SPEC = make_spec(trials={"max": 8, "parallel": 2, "maxFailed": 3, "retries": 1})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = start_postgres(tmp_path_factory.mktemp("postgres"))
    yield server
    server.stop()


@pytest.fixture
def url(server: PostgresServer, request: pytest.FixtureRequest) -> str:
    return server.create_database(request.node.name[:60])


@pytest.fixture
async def databases() -> AsyncIterator[Databases]:
    databases = Databases(threads=2, timeout_seconds=10, max_age_seconds=0)
    yield databases
    databases.close()


def run() -> Run:
    return frozen_run(SPEC, namespace="team-a", name="intents", uid="0badcafe", settings=Settings())


async def create(databases: Databases, url: str) -> None:
    limits = limits_of(SPEC, generation=1)
    await apply_to_trials(databases, url, CreateStudy(REF, run(), limits, SPEC))


async def look(databases: Databases, url: str) -> StoredStudy:
    stored = await databases.look(url, NAME)
    assert stored is not None
    return stored


async def apply(databases: Databases, url: str, *actions: TrialAction) -> None:
    for action in actions:
        await apply_to_trials(databases, url, action)


def test_schema_revision_is_the_installed_optunas(server: PostgresServer) -> None:
    from optuna.storages import RDBStorage

    url = server.create_database("revision").replace("postgresql://", "postgresql+psycopg://")
    assert RDBStorage(url).get_head_version() == SCHEMA_REVISION, "look at counts.py against the new tables first"


async def test_empty_database_holds_no_study(databases: Databases, url: str) -> None:
    assert await databases.look(url, NAME) is None


async def test_created_study_is_read_back_with_its_enqueued_points(databases: Databases, url: str) -> None:
    await create(databases, url)
    await create(databases, url)
    stored = await look(databases, url)
    assert stored.run == run()
    assert stored.spec == SPEC
    assert stored.trials.counts.waiting == len(run().enqueue) > 0


async def test_counts_agree_with_optunas_own_view_at_every_step(databases: Databases, url: str) -> None:
    await create(databases, url)
    study = load_study(url, NAME)
    limits = limits_of(SPEC, generation=1)
    for step in range(8):
        trial = study.ask({"head_c": FloatDistribution(0.01, 1000, log=True)})
        trial.set_user_attr(TrialAttribute.OWNER, Owner(name="w", identity=f"pod-{step % 2}").to_json_dict())
        trial.set_user_attr(TrialAttribute.GPUS, 1)
        trial.set_user_attr(TrialAttribute.SECONDS, 10.0)
        stored = await look(databases, url)
        [running] = [attempt for attempt in stored.trials.running if attempt.number == trial.number]
        assert running.owner is not None
        assert running.claims_before == sum(1 for earlier in range(step) if earlier % 2 == step % 2)
        if step % 3 == 0:
            await apply(databases, url, FailAttempt(REF, trial.number, Cause.CRASHED, "exit code 1"))
        elif step % 3 == 1:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr(TrialAttribute.METRICS, {"accuracy": step / 10})
            study.tell(trial, step / 10)
        stored, everything = await look(databases, url), study.get_trials()
        assert stored.trials.counts == ledger.counts(everything, limits)
        assert list(stored.trials.due) == [due.number for due in ledger.retries_due(everything, limits)]
        assert [best.trial for best in stored.trials.top] == [best.number for best in ledger.top(everything, run())]
        assert (stored.trials.gpu_seconds_used, stored.trials.gpu_seconds_wasted) == ledger.gpu_seconds(everything)
        for number in stored.trials.due:
            await apply(databases, url, CreateRetry(REF, number))
    assert (await look(databases, url)).trials.finished_by


async def test_a_reader_that_comes_later_sees_the_same(databases: Databases, url: str) -> None:
    await create(databases, url)
    study = load_study(url, NAME)
    for value in (0.1, None, 0.7, None, 0.3):
        trial = study.ask()
        trial.suggest_float("head_c", 0.01, 1000)
        if value is None:
            await apply(databases, url, FailAttempt(REF, trial.number, Cause.TIMEOUT, f"trial {trial.number} was slow"))
        else:
            study.tell(trial, value)
        await look(databases, url)
    late = Databases(threads=1, timeout_seconds=10, max_age_seconds=0)
    seen = (await look(late, url)).trials
    assert seen == (await look(databases, url)).trials
    assert seen.last_failure == "trial 3: Timeout: trial 3 was slow"
    late.close()


async def test_what_a_plan_writes_is_read_back(databases: Databases, url: str) -> None:
    await create(databases, url)
    study = load_study(url, NAME)
    first, second, third = study.ask(), study.ask(), study.ask()
    fatal, limits = Fatal(cause="DataError", message="no rows"), limits_of(SPEC, generation=2, stop=True)
    written = [
        FailAttempt(REF, first.number, Cause.LOST, "pod w is gone"),
        VoidAttempt(REF, second.number),
        FailAttempt(REF, third.number, Cause.OUT_OF_MEMORY, "too big", infeasible=True),
        WriteLimits(REF, limits),
        WriteFatal(REF, fatal),
    ]
    await apply(databases, url, *written)
    await apply(databases, url, *written)
    stored = await look(databases, url)
    assert (stored.limits, stored.fatal) == (limits, fatal)
    assert stored.trials.counts.infeasible == 1
    assert stored.trials.running == ()
    first_again, second_again, _ = study.get_trials()[:3]
    assert first_again.user_attrs[TrialAttribute.CAUSE] == Cause.LOST
    assert second_again.user_attrs[TrialAttribute.VOID] is True


async def test_a_running_trial_keeps_the_time_it_was_first_seen(databases: Databases, url: str) -> None:
    await create(databases, url)
    load_study(url, NAME).ask()
    [seen] = (await look(databases, url)).trials.running
    [again] = (await look(databases, url)).trials.running
    assert seen.first_seen == again.first_seen <= datetime.now(UTC)
    assert seen.owner is None
    assert seen.fixed


async def test_deleted_trials_are_gone(databases: Databases, url: str) -> None:
    await create(databases, url)
    await look(databases, url)
    await apply(databases, url, DeleteTrials(REF), DeleteTrials(REF))
    assert await databases.look(url, NAME) is None


async def test_tables_of_another_optuna_are_not_touched(databases: Databases, url: str) -> None:
    await create(databases, url)
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v9.9.9.a'")
    with pytest.raises(SchemaMismatch, match=r"v9\.9\.9\.a"):
        await databases.look(url, NAME)


async def test_a_role_that_may_not_make_tables_is_a_sentence(
    databases: Databases, server: PostgresServer, url: str
) -> None:
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE ROLE reader LOGIN PASSWORD 'reads'")
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with pytest.raises(Away, match="permission denied for schema public"):
        await create(databases, server.url(url.rpartition("/")[2], "reader", "reads"))


async def test_a_written_study_is_read_anew_though_the_others_were_read_a_moment_ago(url: str) -> None:
    databases = Databases(threads=2, timeout_seconds=10, max_age_seconds=3600)
    assert await databases.look(url, NAME) is None
    await create(databases, url)
    assert (await look(databases, url)).limits.max == 8
    await apply(databases, url, WriteLimits(REF, limits_of(SPEC, generation=2).model_copy(update={"max": 9})))
    assert (await look(databases, url)).limits.max == 9
    databases.close()


async def test_reading_cannot_write(databases: Databases, url: str) -> None:
    await create(databases, url)

    def write(database: object) -> None:
        database._connection.execute("DELETE FROM trials")  # type: ignore[attr-defined]

    await look(databases, url)
    with pytest.raises(Away, match="cannot execute DELETE in a read-only transaction"):
        await databases.call(url, "look", write)


async def test_a_write_that_finds_the_server_gone_is_told_as_that(
    databases: Databases, server: PostgresServer, url: str
) -> None:
    await create(databases, url)
    changed = [limits_of(SPEC, generation=2).model_copy(update={"max": wanted}) for wanted in (9, 10)]
    await apply(databases, url, WriteLimits(REF, changed[0]))
    server.stop(immediate=True)
    try:
        with pytest.raises(Away, match=f"port {server.port}|terminat|closed"):
            await apply(databases, url, WriteLimits(REF, changed[1]))
    finally:
        server.start()


async def test_breaker_opens_after_a_failure_and_closes_when_the_database_is_back(
    databases: Databases, server: PostgresServer, url: str
) -> None:
    await create(databases, url)
    await look(databases, url)
    server.stop(immediate=True)
    try:
        with pytest.raises(Away) as first:
            await databases.look(url, NAME)
        assert first.value.retry_seconds > 0
        with pytest.raises(Away):  # refused without asking
            await databases.look(url, NAME)
    finally:
        server.start()
    async with asyncio.timeout(20):
        while True:
            try:
                stored = await databases.look(url, NAME)
            except Away as error:
                await asyncio.sleep(error.retry_seconds)
            else:
                break
    assert stored is not None


async def test_idle_connections_are_closed(
    databases: Databases, server: PostgresServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(databases, url)
    await look(databases, url)
    monkeypatch.setattr("autoglm_operator.databases.IDLE_SECONDS", -1.0)
    await databases.rest()
    with psycopg.connect(server.dsn, autocommit=True) as admin:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        await until(lambda: admin.execute(query, (url.rpartition("/")[2],)).fetchone() == (0,))
    assert (await look(databases, url)).trials.counts.waiting


async def test_the_front_of_several_objectives_agrees_with_the_ledger(databases: Databases, url: str) -> None:
    objectives = [{"metric": "accuracy", "direction": "Maximize"}, {"metric": "loss", "direction": "Minimize"}]
    spec = make_spec(objectives=objectives, trials={"max": 40})
    frozen = frozen_run(spec, namespace="team-a", name="intents", uid="0badcafe", settings=Settings())
    await apply(databases, url, CreateStudy(REF, frozen, limits_of(spec, generation=1), spec))
    study = load_study(url, NAME)
    for step in range(24):
        trial = study.ask()
        study.tell(trial, [step / 24, step / 12 + (5 if step % 2 else 0)])
        if step % 5 == 0:
            await look(databases, url)
    stored, everything = await look(databases, url), study.get_trials()
    assert [member.trial for member in stored.trials.front] == [
        t.number for t in spread(front(everything, frozen), frozen)
    ]
    assert len(stored.trials.front) == 10
    assert stored.trials.best is not None
    assert stored.trials.best.trial == stored.trials.front[0].trial == 23
    assert stored.trials.best.values == tuple(everything[23].values)
