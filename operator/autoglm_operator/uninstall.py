"""Before the chart is uninstalled: stop the operator, then take our finalizer from every study and endpoint.

Otherwise whoever deletes one of them later would wait for ever for an operator that is gone. What the finalizer would
have removed (trials, artifacts) stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from autoglm_api.names import FINALIZER

from .kube import DEPLOYMENTS, ENDPOINTS, PODS, STUDIES, Conflict, Kube, NotFound, Object, Resource

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


async def uninstall(
    kube: Kube, *, deployment: str | None, namespaces: Sequence[str], timeout_seconds: float = 120.0
) -> int:
    """Do both steps and return from how many objects the finalizer was taken. Idempotent.

    Args:
        kube: the API server.
        deployment: `<namespace>/<name>` of the operator; None = nothing is stopped.
        namespaces: where to look; empty = everywhere.
        timeout_seconds: how long the operator's pods may take to end.

    Raises:
        TimeoutError: the operator still runs; its finalizers would come back.
        KubeError: the API server refuses or cannot be reached.
    """
    if deployment is not None:
        await _stop(kube, *deployment.split("/", 1), timeout_seconds=timeout_seconds)
    removed = 0
    for resource in (STUDIES, ENDPOINTS):
        if not await kube.serves(resource):
            continue
        for namespace in namespaces or (None,):
            for body in await kube.list(resource, namespace):
                removed += await _release(kube, resource, body)
    return removed


async def _stop(kube: Kube, namespace: str, name: str, *, timeout_seconds: float) -> None:
    try:
        body = await kube.patch(DEPLOYMENTS, namespace, name, {"spec": {"replicas": 0}})
    except NotFound:
        return
    labels = body["spec"]["selector"]["matchLabels"]
    async with asyncio.timeout(timeout_seconds):
        while any(_is_alive(pod) for pod in await kube.list(PODS, namespace, labels)):  # noqa: ASYNC110 - the server is polled
            await asyncio.sleep(POLL_SECONDS)
    logger.info("deployment %s/%s is stopped", namespace, name)


def _is_alive(pod: Object) -> bool:
    # Evicted pods stay as a record; nobody deletes them.
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


async def _release(kube: Kube, resource: Resource, body: Object) -> bool:
    """Take our finalizer from one object, again if it changes meanwhile; False when there is nothing to take."""
    metadata = body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    try:
        while FINALIZER in (finalizers := metadata.get("finalizers", [])):
            kept = [other for other in finalizers if other != FINALIZER]
            patch = {"metadata": {"finalizers": kept, "resourceVersion": metadata["resourceVersion"]}}
            try:
                await kube.patch(resource, namespace, name, patch)
            except Conflict:
                metadata = (await kube.get(resource, namespace, name))["metadata"]
            else:
                logger.info("%s %s/%s is released", resource.kind, namespace, name)
                return True
    except NotFound:
        logger.info("%s %s/%s is gone already", resource.kind, namespace, name)
    return False
