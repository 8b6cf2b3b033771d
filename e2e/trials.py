"""A study's attempts as its database holds them, and a way to hold a worker still between two of its steps.

What happens between `ask` and the next write takes milliseconds. A table lock stretches it: whoever wants to write into
the table waits, and the test does to it what it likes.
"""

from __future__ import annotations

from base64 import b64decode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import optuna
import psycopg
from e2e.kube import Kube, wait_for
from e2e.pods import pod, terminated
from e2e.studies import condition, status, study
from optuna.trial import FrozenTrial, TrialState
from tests.postgres import PostgresServer

from autoglm_api.attempts import TrialAttribute
from autoglm_api.names import STORAGE_SECRET, STORAGE_SECRET_KEY, database_name, optuna_study_name
from autoglm_store.connection import load_study
from autoglm_store.errors import StoreError

Json = dict[str, Any]


def tuned(name: str, *, epochs: int = 5, **spec: Any) -> Json:
    """A study whose trials train adapters: long enough (a second or so an epoch) to be disturbed, small checkpoints."""
    parameters = [
        {"name": "method", "categorical": {"choices": ["lora"]}},
        {"name": "lora_r", "categorical": {"choices": [4]}},
        {"name": "learning_rate", "float": {"min": 1e-5, "max": 1e-3, "log": True}},
        {"name": "epochs", "categorical": {"choices": [epochs]}},
        {"name": "batch_size", "categorical": {"choices": [8]}},
        {"name": "max_length", "categorical": {"choices": [32]}},
    ]
    return study(name, parameters=parameters, pruner={"type": "None"}, **spec)


def storage_url(kube: Kube, namespace: str) -> str | None:
    """What the namespace's Secret says; None before there is one."""
    secret = kube.get("Secret", STORAGE_SECRET, namespace)
    return b64decode(secret["data"][STORAGE_SECRET_KEY]).decode() if secret else None


class Trials:
    """The attempts of one study, read with the credentials that its workers have."""

    def __init__(self, kube: Kube, namespace: str, name: str) -> None:
        self._kube, self._namespace, self._name = kube, namespace, name
        self._study: optuna.Study | None = None

    def attempts(self) -> list[FrozenTrial]:
        """All attempts by number; empty before the study is in its database."""
        study = self._study = self._study or self._open()
        return study.get_trials(deepcopy=False) if study else []

    def _open(self) -> optuna.Study | None:
        live = self._kube.get("AutoGLMStudy", self._name, self._namespace)
        url = storage_url(self._kube, self._namespace)
        if live is None or url is None:
            return None
        try:
            return load_study(url, optuna_study_name(self._namespace, self._name, live["metadata"]["uid"]))
        except StoreError:
            return None

    def counted(self) -> list[FrozenTrial]:
        """The attempts that are not void."""
        return [attempt for attempt in self.attempts() if TrialAttribute.VOID not in attempt.user_attrs]

    def originals(self) -> list[FrozenTrial]:
        """The first attempts of logical trials."""
        return [attempt for attempt in self.counted() if TrialAttribute.RETRY_OF not in attempt.user_attrs]

    def complete(self) -> list[FrozenTrial]:
        """The attempts with a result."""
        return [attempt for attempt in self.attempts() if attempt.state is TrialState.COMPLETE]

    def training(self, *, steps: int = 1) -> FrozenTrial | None:
        """A RUNNING attempt that has reported `steps` times in this process."""
        for attempt in self.attempts():
            if attempt.state is TrialState.RUNNING and len(attempt.intermediate_values) >= steps:
                return attempt
        return None

    def assert_exact(self, count: int) -> None:
        """`count` logical trials with exactly one result each, and no attempt left open."""
        attempts = self.counted()
        told = [(attempt.number, attempt.state.name, attempt.user_attrs) for attempt in self.attempts()]
        results = Counter(
            attempt.user_attrs.get(TrialAttribute.ORIGIN, attempt.number)
            for attempt in attempts
            if attempt.state is TrialState.COMPLETE
        )
        assert all(attempt.state.is_finished() for attempt in attempts), told
        assert results == {attempt.number: 1 for attempt in self.originals()}, told
        assert len(results) == count, told


def owner(attempt: FrozenTrial) -> str:
    """The pod that trains the attempt."""
    return str(attempt.user_attrs[TrialAttribute.OWNER]["name"])


def admin_url(postgres: PostgresServer, namespace: str) -> str:
    """The namespace's database for the server's administrator."""
    return postgres.url(database_name(namespace))


@contextmanager
def writes_wait(postgres: PostgresServer, namespace: str, table: str) -> Iterator[None]:
    """While this lasts, everybody may read the table and nobody may write to it."""
    with psycopg.connect(admin_url(postgres, namespace)) as connection:
        connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
        yield
        connection.rollback()


def waiting_worker(kube: Kube, postgres: PostgresServer, namespace: str, table: str) -> str:
    """Waits until a worker wants to write to a table that `writes_wait` holds; returns its pod's name."""

    def found() -> str | None:
        with psycopg.connect(admin_url(postgres, namespace)) as connection:
            rows = connection.execute(_WAITING, (table,)).fetchall()
        pods = {pod["status"].get("podIP"): pod["metadata"]["name"] for pod in kube.list("Pod", namespace)}
        return next((pods[address] for (address,) in rows if address in pods), None)

    name = wait_for(found, 240, state=lambda: kube.describe(namespace))
    assert name is not None
    return name


_WAITING = """
SELECT host(client_addr) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE NOT granted AND relation = %s::regclass
"""


def wait_until(condition: Callable[[], Any], kube: Kube, namespace: str, seconds: float = 180.0) -> Any:
    """Waits for something that takes a trial or two; a failure shows the namespace's pods."""
    return wait_for(condition, seconds, state=lambda: kube.describe(namespace))


def files_in_claim(kube: Kube, namespace: str, claim: str, below: str = "") -> list[str]:
    """The files in a claim, as a pod that mounts it sees them."""
    body = pod("look", f"cd /claim && mkdir -p ./{below} && find ./{below} -type f")
    body["metadata"] = {"generateName": "look-"}
    body["spec"]["containers"][0]["volumeMounts"] = [{"name": "claim", "mountPath": "/claim"}]
    body["spec"]["volumes"] = [{"name": "claim", "persistentVolumeClaim": {"claimName": claim}}]
    name = str(kube.create(body, namespace)["metadata"]["name"])
    assert terminated(kube, namespace, name)["exitCode"] == 0, kube.describe(namespace)
    return sorted(kube.logs(namespace, name).split())


def wait_until_searched(kube: Kube, namespace: str, name: str, seconds: float = 300.0) -> Json:
    """Waits until the last trial is finished; the export, which few tests are about, goes on. Returns the status."""

    def searched() -> Json | None:
        reason = condition(kube, namespace, name, "Complete").get("reason")
        return status(kube, namespace, name) if reason in {"Exporting", "MaxTrialsReached"} else None

    told = wait_until(searched, kube, namespace, seconds)
    assert isinstance(told, dict)
    return told
