"""Deleting an endpoint with `deletionPolicy: Delete`: servers and models go before the object does, within limits."""

from __future__ import annotations

from datetime import datetime, timedelta

from autoglm_api.names import FINALIZER, Component
from autoglm_operator.actions import Create, Delete, EmitEvent, KubeAction
from autoglm_operator.kube import DEPLOYMENTS, ENDPOINTS, JOBS
from autoglm_operator.settings import Settings

from .manifests import artifacts_prefix, cleanup_job
from .observation import JobState, Observation
from .plan import Plan, set_finalizer

COPY_STOPS_SECONDS = 2.0


def plan_deletion(seen: Observation, *, settings: Settings, now: datetime) -> Plan:
    """The next step of an endpoint that is being deleted; what it owns goes with it through its owner references."""
    endpoint, spec = seen.endpoint, seen.endpoint.spec
    if FINALIZER not in endpoint.finalizers or endpoint.deleted is None:
        return Plan()
    release = set_finalizer(endpoint, present=False)
    if spec is not None and spec.deletion_policy == "Retain":
        return Plan((release,))
    end = endpoint.deleted + timedelta(seconds=settings.cleanup_timeout_seconds)
    gave_up = seen.doomed
    if spec is None:
        gave_up = f"its spec is invalid ({endpoint.invalid})"
    elif gave_up is None and now >= end:
        gave_up = f"it did not succeed within {settings.cleanup_timeout_seconds:g} s"
    if spec is None or gave_up is not None:
        where = artifacts_prefix(endpoint, spec, settings) if spec is not None else "its models"
        message = f"{where} was left behind, removing it was given up: {gave_up}"
        left = EmitEvent(
            ENDPOINTS, endpoint.namespace, endpoint.name, endpoint.uid, "Warning", "CleanupGivenUp", message
        )
        return Plan((left, release))
    cleanup = next((job for job in seen.jobs if job.component == Component.CLEANUP and not job.deleted), None)
    if cleanup is not None and cleanup.state is JobState.COMPLETE:
        return Plan((release,))
    writers = [job for job in seen.jobs if job.component == Component.COPY]
    actions: list[KubeAction] = [
        Delete(DEPLOYMENTS, endpoint.namespace, server.name, server.uid)
        for server in seen.servers
        if not server.deleted
    ]
    actions += [Delete(JOBS, endpoint.namespace, job.name, job.uid) for job in writers if not job.deleted]
    if cleanup is None and not writers:
        actions.append(Create(JOBS, cleanup_job(endpoint, spec, settings)))
    elif cleanup is not None and cleanup.state is JobState.FAILED:
        actions.append(Delete(JOBS, endpoint.namespace, cleanup.name, cleanup.uid))
    remaining = max(0.1, (end - now).total_seconds())
    return Plan(tuple(actions), requeue_seconds=min(remaining, COPY_STOPS_SECONDS) if writers else remaining)
