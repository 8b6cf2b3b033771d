"""Looking at the world of one study: the live object, its children, its storage, and the owners of its trials."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from urllib.parse import urlsplit

from autoglm_api.conditions import ConditionType, Reason
from autoglm_api.names import ARTIFACTS_CLAIM, STORAGE_SECRET, STORAGE_SECRET_KEY
from autoglm_api.study import StudySpec
from autoglm_store.errors import SchemaMismatch, StoreError

from .children import Children
from .database import secret_url
from .databases import Away, Databases
from .echoes import Echoes
from .kube import CLAIMS, NAMESPACES, PODS, SECRETS, STUDIES, Kube, NotFound, Rejected
from .manifests.job import artifacts_secret
from .manifests.pod import Place, claims
from .observation import Attempt, Observation, Pod, Rejection, Storage, StoredStudy, Study
from .parse import parse_pod, parse_study
from .plan import is_over
from .planning.cleanup import has_finalizer
from .planning.door import artifacts_uri, is_metadata_host
from .planning.search import study_ref
from .queue import Key
from .recent import Recent
from .settings import Settings

PROVISIONING_PAUSE_SECONDS = 15.0
UNASKED = Storage(Reason.PROVISIONING, "the database has not been looked at yet")


@dataclass
class Memory:
    """What is remembered of a study between two reconciles; losing it costs a repetition and nothing else.

    Attributes:
        url, study: where its trials are, and its name there.
        provisioned: when its namespace's database was made last, and what to say if it cannot be opened all the same.
    """

    status_written: datetime | None = None
    rejection: Rejection | None = None
    lost_source: Rejection | None = None
    url: str | None = None
    study: str | None = None
    provisioned: tuple[float, str] | None = None

    def provisioning(self) -> Storage:
        """The namespace's database is missing: have it made, but not again right after an attempt that did not help."""
        if self.provisioned is not None:
            at, problem = self.provisioned
            left = at + PROVISIONING_PAUSE_SECONDS - monotonic()
            if left > 0:
                return Storage(Reason.UNREACHABLE, problem, retry_seconds=left)
        return Storage(Reason.PROVISIONING, "the namespace's database is being made", missing=True)


@dataclass
class Sight:
    """Everything that observing needs.

    Attributes:
        memories: by study key.
        recent: what all studies of a namespace share.
        echoes: what we have written to studies.
    """

    kube: Kube
    databases: Databases
    children: Children
    settings: Settings
    memories: dict[Key, Memory] = field(default_factory=dict)
    recent: Recent = field(init=False)
    echoes: Echoes = field(default_factory=Echoes)

    def __post_init__(self) -> None:
        """Share answers of the same API server."""
        self.recent = Recent(self.kube)

    def memory(self, key: Key) -> Memory:
        """The memory of a study, a new one at first."""
        return self.memories.setdefault(key, Memory())

    def forget(self, key: Key) -> None:
        """Drop what is remembered of a study that is gone or over."""
        memory = self.memories.pop(key, None)
        if memory is not None and memory.url is not None and memory.study is not None:
            self.databases.forget(memory.url, memory.study)


async def observe(sight: Sight, key: Key) -> Observation | None:
    """Look at one study; None when it does not exist.

    Raises:
        KubeError: the API server cannot answer.
    """
    try:
        body = await sight.kube.get(STUDIES, key.namespace, key.name)
    except NotFound:
        return None
    study, memory = parse_study(body, sight.settings), sight.memory(key)
    jobs, pods = sight.children.jobs(study.uid), sight.children.pods(study.uid)
    storage, stored = await _observe_storage(sight, study, memory)
    running = stored.trials.running if stored else ()
    return Observation(
        study=study,
        storage=storage,
        stored=stored,
        jobs=jobs,
        pods=pods,
        owners=await _owners(sight.kube, study.namespace, running, pods),
        has_claim=await _has_claim(sight, study) if storage.connected and not jobs else None,
        lost_secret=await lost_secret(sight.kube, study.namespace, pods),
        doomed=await _doomed(sight, study) if study.deleted is not None and has_finalizer(study) else None,
        rejection=memory.rejection,
        lost_source=memory.lost_source,
        status_written=memory.status_written,
    )


async def _observe_storage(sight: Sight, study: Study, memory: Memory) -> tuple[Storage, StoredStudy | None]:
    """The state of the database and the study in it; studies that are over or invalid are not read."""
    waits_for_cleanup = study.deleted is not None and has_finalizer(study)
    if study.spec is None or (study.deleted is not None and not waits_for_cleanup):
        return UNASKED, None
    if is_over(study.status) and not waits_for_cleanup:
        return _as_before(study), None
    url = await _storage_url(sight, study, study.spec, memory)
    if isinstance(url, Storage):
        return url, None
    memory.url, memory.study = url, study_ref(study, study.spec).study
    try:
        stored = await sight.databases.look(url, memory.study)
    except Away as error:
        own = study.spec.storage is None and sight.settings.database_url is not None
        if own and _needs_making(str(error)):
            return memory.provisioning(), None
        return Storage(Reason.UNREACHABLE, str(error), retry_seconds=error.retry_seconds), None
    except SchemaMismatch as error:
        return Storage(Reason.SCHEMA_MISMATCH, str(error), retry_seconds=60.0), None
    except StoreError as error:
        return Storage(Reason.UNREACHABLE, str(error), retry_seconds=30.0), None
    return Storage(Reason.CONNECTED, "the study's database answers"), stored


def _as_before(study: Study) -> Storage:
    said = next((said for said in study.status.conditions if said.type == ConditionType.STORAGE_READY), None)
    return Storage(Reason(said.reason), said.message) if said else UNASKED


def _needs_making(message: str) -> bool:
    """Whether the server answered that role, password or database are not there (yet)."""
    return "does not exist" in message or "authentication failed" in message


async def _storage_url(sight: Sight, study: Study, spec: StudySpec, memory: Memory) -> str | Storage:
    own = spec.storage.secret_ref if spec.storage else None
    name, key = (own.name, own.key) if own else (STORAGE_SECRET, STORAGE_SECRET_KEY)
    # Whoever mends a Secret of their own looks at the study at once.
    get = sight.kube.get if own else sight.recent.get
    try:
        url = secret_url(await get(SECRETS, study.namespace, name), key)
    except NotFound:
        if own is not None:
            return Storage(Reason.SECRET_NOT_FOUND, f"Secret {name} does not exist", retry_seconds=15.0)
        if sight.settings.database_url is None:
            message = "the installation has no database: give the study storage.secretRef, or set databaseUrl"
            return Storage(Reason.SECRET_NOT_FOUND, message, retry_seconds=60.0)
        return memory.provisioning()
    if url is None:
        return Storage(Reason.SECRET_NOT_FOUND, f"Secret {name} has no key {key}", retry_seconds=15.0)
    problem = _refused_url(url) if own is not None else None
    return Storage(Reason.UNREACHABLE, problem, retry_seconds=60.0) if problem else url


def _refused_url(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "the storage URL cannot be read; expected postgresql://user:password@host/database"
    if parts.scheme not in ("postgresql", "postgresql+psycopg"):
        return f"storage must be postgresql://, got {parts.scheme}://"
    if is_metadata_host(host):
        return "the storage URL names a link-local or metadata address, which is not allowed"
    return None


async def _owners(
    kube: Kube, namespace: str, running: tuple[Attempt, ...], pods: tuple[Pod, ...]
) -> dict[str, Pod | None]:
    """The owners that the cache does not show alive, each asked for directly."""
    alive = {pod.uid for pod in pods if pod.phase == "Running" and pod.deleted is None}
    asked = {
        attempt.owner.identity: attempt.owner.name
        for attempt in running
        if attempt.owner is not None and attempt.owner.identity not in alive
    }
    found = await asyncio.gather(*(_pod(kube, namespace, name) for name in asked.values()))
    return dict(zip(asked, found, strict=True))


async def _pod(kube: Kube, namespace: str, name: str) -> Pod | None:
    try:
        return parse_pod(await kube.get(PODS, namespace, name))
    except NotFound:
        return None


async def _has_claim(sight: Sight, study: Study) -> bool | None:
    """Whether the claim that the installation's default needs is there; None = not needed."""
    if study.spec is None:
        return None
    if ARTIFACTS_CLAIM not in claims([Place("artifacts", (artifacts_uri(study.spec, sight.settings),))]):
        return None
    try:
        await sight.recent.get(CLAIMS, study.namespace, ARTIFACTS_CLAIM)
    except NotFound:
        return False
    return True


async def lost_secret(kube: Kube, namespace: str, pods: Iterable[Pod]) -> str | None:
    """A Secret that pods wait for and that does not exist; None when there is none.

    A pod that does not start is looked at more closely: the kubelet tells of a missing Secret only in Events.
    """
    now = datetime.now(UTC)
    for name in sorted({name for pod in pods if pod.is_held_up(now) for name in pod.secrets}):
        try:
            await kube.get(SECRETS, namespace, name)
        except NotFound:
            return name
    return None


async def _doomed(sight: Sight, study: Study) -> str | None:
    """Why cleaning up cannot work any more."""
    try:
        namespace = await sight.kube.get(NAMESPACES, None, study.namespace)
    except (NotFound, Rejected):
        namespace = {}
    if (namespace.get("status") or {}).get("phase") == "Terminating":
        return "the namespace is being deleted"
    secret = artifacts_secret(study.spec, sight.settings) if study.spec else None
    if secret is not None:
        try:
            await sight.kube.get(SECRETS, study.namespace, secret)
        except NotFound:
            return f"Secret {secret} of the artifacts is gone"
    return None
