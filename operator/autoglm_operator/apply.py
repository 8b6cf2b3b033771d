"""Carrying out plans on the API server. Every action may be carried out twice: the second time changes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from .actions import Apply, Create, Delete, EmitEvent, KubeAction, Patch, WriteStatus
from .events import emit
from .kube import Conflict, Kube, NotFound, Object


async def apply(kube: Kube, actions: Iterable[KubeAction]) -> None:
    """Carry out `actions` in order; the first error ends it, and the next reconcile goes on from there.

    Raises:
        KubeError: as `Kube` translates them.
    """
    for action in actions:
        await apply_one(kube, action)


async def apply_one(kube: Kube, action: KubeAction) -> None:
    """Carry out one action."""
    match action:
        case Create():
            await _create(kube, action)
        case Apply(resource=resource, body=body):
            await kube.apply(resource, body["metadata"].get("namespace"), body)
        case Patch(resource=resource, namespace=namespace, name=name, body=body):
            await kube.patch(resource, namespace, name, body)
        case Delete(resource=resource, namespace=namespace, name=name, uid=uid):
            try:
                await kube.delete(resource, namespace, name, uid=uid)
            except (NotFound, Conflict):  # gone already, or another object has the name now
                return
        case WriteStatus(resource=resource, namespace=namespace, name=name, status=status):
            await kube.apply_status(resource, namespace, name, status)
        case EmitEvent():
            await emit(kube, action)
        case _:
            assert_never(action)


async def _create(kube: Kube, action: Create) -> None:
    metadata = action.body["metadata"]
    try:
        await kube.create(action.resource, metadata.get("namespace"), action.body)
    except Conflict:
        present = await kube.get(action.resource, metadata.get("namespace"), metadata["name"])
        if _owners(present) != _owners(action.body):
            raise Conflict(
                f"{action.resource.kind} {metadata['name']} exists and belongs to somebody else; delete or rename it"
            ) from None


def _owners(body: Object) -> set[str]:
    return {str(owner["uid"]) for owner in body["metadata"].get("ownerReferences", ())}
