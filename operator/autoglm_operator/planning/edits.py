"""Edits of a running study: what may change is taken over, what may not is named and ignored."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from autoglm_api.base import Model
from autoglm_api.run import EDITABLE, EDITABLE_TRAINER, EDITABLE_TRIALS
from autoglm_api.study import StudySpec

_PARTS = {"trials": EDITABLE_TRIALS, "trainer": EDITABLE_TRAINER}


def effective_spec(first: StudySpec, live: StudySpec) -> StudySpec:
    """The spec that the study was accepted with, with the editable fields as they are now."""
    parts = {
        name: getattr(first, name).model_copy(update=_picked(getattr(live, name), editable))
        for name, editable in _PARTS.items()
    }
    return first.model_copy(update={**_picked(live, EDITABLE), **parts})


def _picked(part: Model, editable: AbstractSet[str]) -> dict[str, object]:
    return {name: getattr(part, name) for name, known in type(part).model_fields.items() if known.alias in editable}


def ignored_edit(first: StudySpec, live: StudySpec) -> str | None:
    """A sentence that names the edited fields which are ignored; None when there are none."""
    kept = effective_spec(first, live)
    fields = [*_changed(kept, live, "spec")]
    if not fields:
        return None
    return (
        f"{', '.join(fields)} cannot be changed once a study has started; it goes on with its first values."
        " Undo the edit, or create a new study"
    )


def _changed(kept: Model, live: Model, where: str) -> list[str]:
    found: list[str] = []
    for name, known in type(kept).model_fields.items():
        before, after = getattr(kept, name), getattr(live, name)
        if before == after:
            continue
        if name in _PARTS:
            found += _changed(before, after, f"{where}.{known.alias}")
        else:
            found.append(f"{where}.{known.alias}")
    return found
