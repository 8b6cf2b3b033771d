"""What an endpoint says about itself. Ready speaks of the champion; what holds a newer model up is its reason."""

from __future__ import annotations

from datetime import datetime

from autoglm_api.conditions import Condition, ConditionType, Reason, condition, merge_conditions
from autoglm_api.names import endpoint_service_name
from autoglm_api.status import EndpointStatus, ServedModel
from autoglm_operator.settings import Settings

from .observation import Observation
from .plan import never_ready, said
from .roles import Findings, Promotion, Stage

_STAGES = {
    Stage.NEW: Reason.COPYING,
    Stage.COPYING: Reason.COPYING,
    Stage.COPY_FAILED: Reason.COPY_FAILED,
    Stage.ROLLING_OUT: Reason.ROLLING_OUT,
    Stage.READY: Reason.PROMOTING,
    Stage.NEVER_READY: Reason.NOT_READY,
}


def endpoint_status(
    seen: Observation, found: Findings | None, *, settings: Settings, now: datetime, refused: str | None = None
) -> EndpointStatus:
    """The whole status.

    Args:
        seen: the endpoint and its objects.
        found: what the plan found; None = the spec is invalid, and what serves stays as it is.
        settings: the installation's.
        now: the time.
        refused: the API server's sentence, when it refused one of the plan's objects.
    """
    before, generation = seen.endpoint.status, seen.endpoint.generation
    if found is None:
        sentence, state = seen.endpoint.invalid or "", False
        invalid = condition(ConditionType.READY, state, Reason.INVALID_SPEC, sentence, generation=generation, now=now)
        conditions = merge_conditions(before.conditions, [invalid])
        update = {"observed_generation": generation, "phase": "Invalid", "conditions": conditions}
        return before.model_copy(update=update)
    said_now = _conditions(seen, found, settings, now, refused)
    champion = found.champion
    return EndpointStatus(
        observed_generation=generation,
        phase=_phase(seen, found, said_now),
        url=_url(seen) if champion is not None else None,
        conditions=merge_conditions(before.conditions, said_now),
        ready_replicas=_available(found),
        champion=_shown(champion.served) if champion is not None else None,
        candidate=_shown(found.promotion.place.served) if found.promotion is not None else None,
        previous=_shown(found.previous.served) if found.previous is not None else None,
    )


def _shown(model: ServedModel) -> ServedModel:
    """Times in status are whole seconds."""
    return model.model_copy(update={"since": model.since.replace(microsecond=0)}) if model.since else model


def _url(seen: Observation) -> str:
    return f"http://{endpoint_service_name(seen.endpoint.name)}.{seen.endpoint.namespace}.svc"


def _available(found: Findings) -> int:
    server = found.champion.server if found.champion is not None else None
    return max(server.available, server.ready) if server is not None else 0


def _conditions(
    seen: Observation, found: Findings, settings: Settings, now: datetime, refused: str | None
) -> list[Condition]:
    generation = seen.endpoint.generation

    def say(type_: ConditionType, reason: Reason, message: str, *, status: bool = True) -> Condition:
        return condition(type_, status, reason, message, generation=generation, now=now)

    spec, promotion = seen.endpoint.spec, found.promotion
    assert spec is not None, "conditions of an invalid spec are not made here"
    rolled_back = _rolled_back(seen, found, settings)
    ready, reason, message = _ready(seen, found, rolled_back)
    conditions = [say(ConditionType.READY, reason, message, status=ready)]
    moving = _moving(found, spec.replicas)
    if moving is not None:
        conditions.append(say(ConditionType.RECONCILING, *moving))
    if refused is not None:
        conditions.append(say(ConditionType.STALLED, Reason.POD_REJECTED, refused))
    elif found.taken_name is not None:
        conditions.append(say(ConditionType.STALLED, Reason.NAME_TAKEN, found.taken_name))
    elif promotion is not None and promotion.stage is Stage.COPY_FAILED:
        conditions.append(say(ConditionType.STALLED, Reason.COPY_FAILED, _stage_sentence(promotion)))
    elif rolled_back is not None and found.champion is None:
        conditions.append(say(ConditionType.STALLED, Reason.NOT_READY, rolled_back))
    if spec.replicas == 0:
        conditions.append(say(ConditionType.SUSPENDED, Reason.SUSPENDED, "spec.replicas is 0"))
    if rolled_back is not None:
        conditions.append(say(ConditionType.ROLLED_BACK, Reason.NOT_READY, rolled_back))
    return conditions


def _ready(seen: Observation, found: Findings, rolled_back: str | None) -> tuple[bool, Reason, str]:
    spec, champion, promotion = seen.endpoint.spec, found.champion, found.promotion
    assert spec is not None
    if champion is not None:
        available = _available(found)
        if available < spec.replicas:
            trouble = champion.server.trouble if champion.server is not None else None
            sentence = f"{available} of {spec.replicas} servers are ready"
            return False, Reason.NOT_READY, f"{sentence}; {trouble}" if trouble else sentence
        if spec.replicas == 0:
            return True, Reason.SUSPENDED, "spec.replicas is 0"
        reason, more = _news(found)
        return True, reason, f"{said(champion.record.model)} serves{more}"
    if found.taken_name is not None:
        return False, Reason.NAME_TAKEN, found.taken_name
    if promotion is not None:
        return False, _STAGES[promotion.stage], _stage_sentence(promotion)
    if rolled_back is not None:
        return False, Reason.NOT_READY, rolled_back
    if found.choice.refusal is not None:
        return False, found.choice.refusal.reason, found.choice.refusal.message
    if spec.replicas == 0 and found.choice.winner is not None:
        return False, Reason.SUSPENDED, "spec.replicas is 0, so no model is rolled out"
    return False, Reason.NO_CANDIDATE, "no study that spec.source selects has completed with a model"


def _news(found: Findings) -> tuple[Reason, str]:
    """What there is to say beside that the champion serves."""
    if found.promotion is not None:
        return Reason.SERVING, f"; {_stage_sentence(found.promotion)}"
    if found.choice.refusal is not None:
        return found.choice.refusal.reason, f"; {found.choice.refusal.message}"
    return Reason.SERVING, ""


def _stage_sentence(promotion: Promotion) -> str:
    model = said(promotion.candidate.model)
    trouble = f"; {promotion.trouble}" if promotion.trouble else ""
    match promotion.stage:
        case Stage.NEW | Stage.COPYING:
            return f"{model} is being copied{trouble}"
        case Stage.COPY_FAILED:
            return f"{model} could not be copied{trouble}; tried again in a few minutes"
        case _:
            return f"the servers of {model} are starting{trouble}"


def _moving(found: Findings, wanted: int) -> tuple[Reason, str] | None:
    """What is under way."""
    promotion, champion = found.promotion, found.champion
    if promotion is not None and promotion.stage is not Stage.COPY_FAILED:
        return _STAGES[promotion.stage], _stage_sentence(promotion)
    if champion is not None and (champion.server is None or champion.server.ready < wanted):
        ready = champion.server.ready if champion.server is not None else 0
        return Reason.ROLLING_OUT, f"{ready} of {wanted} servers are up to date and ready"
    return None


def _rolled_back(seen: Observation, found: Findings, settings: Settings) -> str | None:
    failed = found.choice.rejected
    if failed is None:
        return None
    for known in seen.endpoint.status.conditions:
        # It was said when the pods could still be asked why.
        if known.type == ConditionType.ROLLED_BACK and said(failed.model) in known.message:
            return known.message
    place = next((server for server in seen.servers if server.digest == failed.model.digest), None)
    return never_ready(failed.model, place.trouble if place is not None else None, settings)


def _phase(seen: Observation, found: Findings, conditions: list[Condition]) -> str:
    spec = seen.endpoint.spec
    types = {one.type for one in conditions}
    if ConditionType.STALLED in types:
        return "Stalled"
    if spec is not None and spec.replicas == 0:
        return "Suspended"
    if found.promotion is not None:
        return "Promoting"
    if found.champion is None:
        return "Pending"
    return "Serving" if conditions[0].status == "True" else "NotReady"
