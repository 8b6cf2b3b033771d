"""`argocd/health.lua` answers as the table in the docs says, and so does kstatus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lupa.lua51 import LuaRuntime
from ruamel.yaml import YAML

from autoglm_api.conditions import ALWAYS_PRESENT, ConditionType, Reason
from autoglm_api.names import ANNOTATION_HEALTH

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "argocd/health.lua").read_text()
PAGE = (ROOT / "docs/reference/conditions.md").read_text()
Object = dict[str, Any]


@dataclass(frozen=True)
class State:
    """A row of the table."""

    name: str
    kind: str
    flags: frozenset[str]
    conditions: tuple[tuple[str, str, str], ...]
    kstatus: str
    health: str

    def object(self) -> Object:
        """The object in this state; one that was never seen has no status."""
        metadata: Object = {"generation": 2, "annotations": {}}
        if "waits" in self.flags:
            metadata["annotations"][ANNOTATION_HEALTH] = "Complete"
        if "deleted" in self.flags:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if not self.conditions:
            return {"metadata": metadata}
        said = [
            {"type": kind, "status": status, "reason": reason, "message": "a sentence"}
            for kind, status, reason in self.conditions
        ]
        return {
            "metadata": metadata,
            "status": {"observedGeneration": 1 if "stale" in self.flags else 2, "conditions": said},
        }


def _states() -> Iterator[State]:
    table = re.search(r"<!-- states -->\n(.*?)<!-- end -->", PAGE, re.DOTALL)
    assert table
    for line in table[1].splitlines()[2:]:
        name, kind, text, kstatus, health = (cell.strip() for cell in line.strip("|").split("|"))
        *flags, said = text.split("; ")
        yield State(
            name,
            kind,
            frozenset(flags),
            tuple(re.findall(r"(\w+)=(\w+)/(\w+)", said)),
            kstatus,
            health,
        )


STATES = list(_states())
states = pytest.mark.parametrize("state", STATES, ids=lambda state: f"{state.kind}: {state.name}")


def argo_health(obj: Object) -> dict[str, str]:
    """Runs the script as Argo CD does: `obj` is a global, and only base and table functions are there."""
    lua = LuaRuntime(unpack_returned_tuples=True)
    lua.execute("string, io, os, math, debug, require, dofile, loadfile = nil")
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    return dict(lua.execute(SCRIPT))


def kstatus_of(obj: Object) -> str:
    """What kstatus computes for a custom resource."""
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    status = obj.get("status", {"observedGeneration": obj["metadata"]["generation"], "conditions": []})
    if status["observedGeneration"] != obj["metadata"]["generation"]:
        return "InProgress"
    said = {condition["type"]: condition["status"] for condition in status["conditions"]}
    for kind in said:  # the first of the two in the list decides
        if kind in ("Reconciling", "Stalled") and said[kind] == "True":
            return "Failed" if kind == "Stalled" else "InProgress"
    return "Current" if said.get("Ready", "True") == "True" else "InProgress"


@states
def test_argo_cd_sees_the_health_of_the_table(state: State) -> None:
    answer = argo_health(state.object())
    assert answer["status"] == state.health
    assert answer["message"]


@states
def test_kstatus_is_that_of_the_table(state: State) -> None:
    assert kstatus_of(state.object()) == state.kstatus


@states
def test_states_use_only_what_the_operator_can_say(state: State) -> None:
    for kind, status, reason in state.conditions:
        assert status in ("True", "False", "Unknown")
        assert status == "True" or ConditionType(kind) in ALWAYS_PRESENT
        assert Reason(reason)
    assert not state.conditions or "Ready" in [kind for kind, _, _ in state.conditions]


def test_every_type_is_described_and_in_some_state() -> None:
    in_states = {kind for state in STATES for kind, _, _ in state.conditions}
    for kind in ConditionType:
        assert f"| `{kind}` |" in PAGE
        assert kind in in_states, kind


def test_a_message_says_what_is_wrong() -> None:
    (state,) = [each for each in STATES if each.name == "image cannot be pulled"]
    assert argo_health(state.object())["message"] == "ImagePull: a sentence"


def test_the_config_map_holds_the_script_for_both_kinds() -> None:
    data = YAML(typ="safe").load(ROOT / "argocd/argocd-cm.yaml")["data"]
    for kind in ("AutoGLMStudy", "AutoGLMEndpoint"):
        assert data[f"resource.customizations.health.autoglm.io_{kind}"] == SCRIPT
