"""One pass over one endpoint: observe, plan, apply, say so. Whoever calls it repeats it when an error is raised."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from autoglm_api.conditions import Condition, ConditionType, Reason
from autoglm_api.status import EndpointStatus
from autoglm_operator.actions import EmitEvent
from autoglm_operator.apply import apply, apply_one
from autoglm_operator.kube import ENDPOINTS, Kube, Rejected
from autoglm_operator.metrics import PROMOTIONS
from autoglm_operator.settings import Settings

from .deletion import plan_deletion
from .observation import Endpoint, Observation
from .observe import observe
from .plan import Outcome, Plan, plan, set_finalizer
from .status import endpoint_status

REFUSED_RETRY_SECONDS = 30.0
# Everything that belongs to an endpoint is watched; this is for the event that never came.
LOOK_AGAIN_SECONDS = 300.0
_REFUSALS = (Reason.GATE_REFUSED, Reason.NOT_COMPARABLE)

log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def reconcile(
    kube: Kube, settings: Settings, namespace: str, name: str, *, clock: Callable[[], datetime] = _utc_now
) -> float | None:
    """Bring one endpoint a step nearer to where it should be.

    Returns:
        Seconds after which it wants to be called again at the latest; None = only when something changes.

    Raises:
        Conflict: something changed meanwhile; call again.
        Unavailable: the API server did not answer; call again.
    """
    seen = await observe(kube, settings, namespace, name)
    if seen is None:
        return None
    now = clock()
    endpoint = seen.endpoint
    if endpoint.deleted is not None:
        return await _delete(kube, seen, settings, now)
    if endpoint.spec is None:
        await _write(kube, endpoint, endpoint_status(seen, None, settings=settings, now=now))
        return None
    planned = plan(seen, settings=settings, now=now)
    refused: str | None = None
    try:
        await apply(kube, planned.actions)
    except Rejected as error:
        refused = str(error)
    if refused is None:
        _tell(endpoint, planned)
    status = endpoint_status(seen, planned.findings, settings=settings, now=now, refused=refused)
    await _write(kube, endpoint, status)
    await _tell_refusal(kube, endpoint, status)
    longest = LOOK_AGAIN_SECONDS if refused is None else REFUSED_RETRY_SECONDS
    return min(longest, planned.requeue_seconds or longest)


async def _delete(kube: Kube, seen: Observation, settings: Settings, now: datetime) -> float | None:
    planned = plan_deletion(seen, settings=settings, now=now)
    try:
        await apply(kube, planned.actions)
    except Rejected as error:
        # A terminating namespace takes no new Job: there is nothing left that could clean up.
        log.warning("cleanup refused: %s", error, extra=_fields(seen.endpoint))
        await apply_one(kube, set_finalizer(seen.endpoint, present=False))
        return None
    return planned.requeue_seconds


async def _write(kube: Kube, endpoint: Endpoint, status: EndpointStatus) -> None:
    """Write the status if it changed, what is gone as null.

    Not by server-side apply: Kubernetes 1.20 leaves a null behind for an object that is left out, and then refuses it.
    """
    if status != endpoint.status:
        body = {"status": status.model_dump(mode="json", by_alias=True)}
        await kube.patch(ENDPOINTS, endpoint.namespace, endpoint.name, body, subresource="status")


def _tell(endpoint: Endpoint, planned: Plan) -> None:
    """A decision was carried out: count it and log it, once."""
    if planned.outcome is None:
        return
    PROMOTIONS.labels(namespace=endpoint.namespace, outcome=planned.outcome.value).inc()
    champion = planned.findings.champion
    digest = champion.digest if champion is not None else None
    log.info("promotion: %s", planned.outcome.value, extra={**_fields(endpoint), "champion": digest})


async def _tell_refusal(kube: Kube, endpoint: Endpoint, status: EndpointStatus) -> None:
    """The gate's no is an event when it is news."""
    before, after = _ready(endpoint.status), _ready(status)
    if after is None or after.reason not in _REFUSALS or (before is not None and before.message == after.message):
        return
    PROMOTIONS.labels(namespace=endpoint.namespace, outcome=Outcome.REFUSED.value).inc()
    await apply_one(
        kube,
        EmitEvent(ENDPOINTS, endpoint.namespace, endpoint.name, endpoint.uid, "Normal", after.reason, after.message),
    )


def _ready(status: EndpointStatus) -> Condition | None:
    return next((one for one in status.conditions if one.type == ConditionType.READY), None)


def _fields(endpoint: Endpoint) -> dict[str, str]:
    return {"namespace": endpoint.namespace, "endpoint": endpoint.name}
