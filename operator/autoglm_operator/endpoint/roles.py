"""Who is who: which model has the traffic, which had it before, and how far the next one has come. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from autoglm_api.endpoint import EndpointSpec
from autoglm_api.names import Component, endpoint_object_name
from autoglm_api.status import ServedModel
from autoglm_operator.settings import Settings

from .candidates import Choice, choose
from .manifests import artifacts_prefix, artifacts_secret, short_digest
from .observation import Candidate, EndpointJob, JobState, Observation, Record, Server

COPY_RETRY = timedelta(minutes=5)


class Stage(StrEnum):
    """How far a model that should be promoted has come."""

    NEW = "New"
    COPYING = "Copying"
    COPY_FAILED = "CopyFailed"
    ROLLING_OUT = "RollingOut"
    READY = "Ready"
    NEVER_READY = "NeverReady"


@dataclass(frozen=True)
class Serving:
    """A model in its place.

    Attributes:
        since: since when it is there.
        server: its Deployment, if it has one.
    """

    record: Record
    since: datetime
    server: Server | None = None

    @property
    def digest(self) -> str:
        """Of the model."""
        return self.record.model.digest

    @property
    def served(self) -> ServedModel:
        """As the status shows it."""
        return self.record.model.model_copy(update={"since": self.since})


@dataclass(frozen=True)
class Promotion:
    """The candidate on its way in, and why it is where it is."""

    candidate: Candidate
    place: Serving
    stage: Stage
    trouble: str | None = None
    retry_at: datetime | None = None


@dataclass(frozen=True)
class Findings:
    """What the plan found out and the status has to tell."""

    champion: Serving | None = None
    previous: Serving | None = None
    promotion: Promotion | None = None
    choice: Choice = field(default_factory=Choice)
    rejected: tuple[str, ...] = ()
    taken_name: str | None = None


def find(seen: Observation, spec: EndpointSpec, settings: Settings, now: datetime) -> Findings:
    """What there is, and what should become of it."""
    champion = _champion(seen, now)
    champion = _with_facts(champion, seen.candidates)
    previous = _previous(seen, champion, now)
    rejected = seen.endpoint.rejected
    known = champion.served if champion is not None else None
    choice = choose(seen.candidates, known, spec.gate, rejected=rejected)
    promotion = None
    if choice.winner is not None and spec.replicas > 0:
        promotion = _promotion(seen, spec, choice.winner, settings, now)
        if previous is not None and previous.digest == promotion.place.digest:
            previous = None
    return Findings(champion, previous, promotion, choice, rejected)


def _champion(seen: Observation, now: datetime) -> Serving | None:
    """Where the Service points, unless somebody turned it back by hand; else what Deployments or status say."""
    status = seen.endpoint.status.champion
    selected = seen.service.digest if seen.service is not None else None
    live = [server for server in seen.servers if not server.deleted]
    server = next((one for one in live if one.previous is None and short_digest(one.digest) == selected), None)
    if server is None and (status is None or short_digest(status.digest) != selected):
        marked = [(one.champion, one.name, one) for one in live if one.champion is not None]
        server = max(marked)[2] if marked else None
    if server is not None:
        known = status.since if status is not None and status.digest == server.digest else None
        return Serving(server.record, server.champion or known or now, server)
    if status is None:
        return None
    return Serving(Record(model=status.model_copy(update={"since": None})), status.since or now)


def _with_facts(champion: Serving | None, candidates: Iterable[Candidate]) -> Serving | None:
    """A champion that was once pinned learns from a selected study with the same model what it measured."""
    if champion is None or champion.record.model.metric is not None:
        return champion
    for one in candidates:
        if one.model.digest == champion.digest and one.model.metric is not None:
            facts = one.model.model_copy(update={"uri": champion.record.model.uri, "since": None})
            return replace(champion, record=champion.record.model_copy(update={"model": facts}))
    return champion


def _previous(seen: Observation, champion: Serving | None, now: datetime) -> Serving | None:
    """The champion before this one: marked so, or still marked as champion although the Service points elsewhere."""
    others = [
        server
        for server in seen.servers
        if not server.deleted
        and (champion is None or server.digest != champion.digest)
        and (server.previous is not None or server.champion is not None)
    ]
    if not others:
        return None
    last = max(others, key=lambda server: (server.champion is not None, server.previous or server.champion or now))
    return Serving(last.record, last.previous or now, last)


def _promotion(
    seen: Observation, spec: EndpointSpec, winner: Candidate, settings: Settings, now: datetime
) -> Promotion:
    server = seen.server(winner.model.digest)
    if server is not None and collection_of(seen, server.digest) is None:
        since = server.candidate or now
        place = Serving(server.record, since, server)
        if server.replicas == spec.replicas and server.ready >= spec.replicas and server.candidate is not None:
            return Promotion(winner, place, Stage.READY)
        late = now >= since + timedelta(seconds=settings.promotion_timeout_seconds)
        stage = Stage.NEVER_READY if late or server.hopeless else Stage.ROLLING_OUT
        return Promotion(winner, place, stage, server.trouble)
    uri = f"{artifacts_prefix(seen.endpoint, spec, settings)}/{winner.model.digest.removeprefix('sha256:')}"
    facts = winner.model.model_copy(update={"uri": uri, "since": None})
    place = Serving(Record(model=facts, secret=artifacts_secret(spec, settings)), _since(seen, winner, now))
    if collection_of(seen, winner.model.digest) is not None:
        return Promotion(winner, place, Stage.COPYING, "an older copy of it is being removed first")
    job = copy_of(seen, winner.model.digest)
    if job is None:
        return Promotion(winner, place, Stage.NEW)
    match job.state:
        case JobState.ACTIVE:
            return Promotion(winner, place, Stage.COPYING, job.trouble)
        case JobState.COMPLETE:
            return Promotion(winner, replace(place, since=now), Stage.ROLLING_OUT)
        case JobState.FAILED:
            retry_at = (job.finished or job.created) + COPY_RETRY
            trouble = job.trouble or f"see the log of Job {job.name}"
            return Promotion(winner, place, Stage.COPY_FAILED, trouble, retry_at)


def _since(seen: Observation, winner: Candidate, now: datetime) -> datetime:
    known = seen.endpoint.status.candidate
    return known.since if known is not None and known.digest == winner.model.digest and known.since else now


def copy_of(seen: Observation, digest: str) -> EndpointJob | None:
    """The Job that copies this model, unless it is on its way out."""
    return _job_of(seen, digest, Component.COPY)


def collection_of(seen: Observation, digest: str) -> EndpointJob | None:
    """The Job that removes our copy of this model, until it is told to go."""
    return _job_of(seen, digest, Component.COLLECT)


def _job_of(seen: Observation, digest: str, component: str) -> EndpointJob | None:
    name = endpoint_object_name(seen.endpoint.name, digest, component)
    return next((job for job in seen.jobs if job.name == name and not job.deleted), None)
