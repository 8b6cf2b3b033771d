"""Models and CRDs say the same thing: fields, required, types, enums, bounds, patterns, defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel
from tests.crds.schema import PRESERVE, RULES, Schema, defaulted, nodes, schema

from autoglm_api.catalog import AUTO, TASKS
from autoglm_api.endpoint import EndpointSpec
from autoglm_api.run import EDITABLE, EDITABLE_TRAINER, EDITABLE_TRIALS
from autoglm_api.status import EndpointStatus, StudyStatus
from autoglm_api.study import StudySpec

BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern",
    "minItems", "maxItems", "minProperties", "maxProperties", "enum", "format",
)  # fmt: skip
# Numbers are bounded by their width in the CRD; the models have no such notion.
INTEGER_FORMATS = ("int32", "int64")
# The CRD knows the tasks by name, the model by pattern: an unknown one is refused before it is stored.
TASK = "spec.task"


def model_schema(model: type[BaseModel]) -> Schema:
    root = model.model_json_schema(by_alias=True)
    resolved = _resolved(root, root.get("$defs", {}))
    assert isinstance(resolved, dict)
    return resolved


def _resolved(node: Any, definitions: dict[str, Any]) -> Any:
    """Without references, and with `X | None` as X."""
    if isinstance(node, list):
        return [_resolved(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {**_resolved(definitions[node["$ref"].rsplit("/", 1)[1]], definitions), **_without(node, "$ref")}
    node = {key: _resolved(value, definitions) for key, value in node.items() if key != "$defs"}
    members = [member for member in node.get("anyOf", ()) if member.get("type") != "null"]
    return {**members[0], **_without(node, "anyOf")} if len(members) == 1 else node


def _without(node: Schema, key: str) -> Schema:
    return {name: value for name, value in node.items() if name != key}


def kind_of(node: Schema) -> str:
    """`any` for scalars and quantities, `free` for objects whose fields are not ours, otherwise the JSON type."""
    extra = node.get("additionalProperties")
    if node.get("type") == "object" and (
        node.get(PRESERVE) or extra is True or (_is_union(extra) and not _is_quantity(extra))
    ):
        return "free"
    if "type" not in node and (node.get(PRESERVE) or _is_union(node)):
        return "any"
    return str(node["type"])


def _is_union(node: Any) -> bool:
    return isinstance(node, dict) and len(node.get("anyOf", ())) > 1


def _is_quantity(node: Schema) -> bool:
    return any("pattern" in member for member in node["anyOf"])


def bounds(node: Schema) -> dict[str, Any]:
    found = {name: node[name] for name in BOUNDS if name in node}
    for side in ("minimum", "maximum"):
        exclusive = f"exclusive{side.capitalize()}"
        if found.get(exclusive) is True:
            found[exclusive] = found.pop(side)
    if "const" in node:
        found["enum"] = [node["const"]]
    if "enum" in found:
        found["enum"] = sorted(found["enum"])
    for member in node.get("anyOf", ()):
        found |= {name: member[name] for name in ("maxLength", "pattern") if name in member}
    if found.get("format") in INTEGER_FORMATS:
        del found["format"]
    return found


def differences(path: str, model: Schema, crd: Schema, *, written_by_users: bool) -> Iterator[str]:
    if kind_of(model) != kind_of(crd):
        yield f"{path}: the model has {kind_of(model)}, the CRD {kind_of(crd)}"
        return
    if written_by_users and path != TASK and bounds(model) != bounds(crd) and kind_of(model) != "free":
        yield f"{path}: the model has {bounds(model)}, the CRD {bounds(crd)}"
    if "items" in model and "items" in crd:
        yield from differences(f"{path}[]", model["items"], crd["items"], written_by_users=written_by_users)
    if isinstance(model.get("additionalProperties"), dict) and isinstance(crd.get("additionalProperties"), dict):
        pair = model["additionalProperties"], crd["additionalProperties"]
        yield from differences(f"{path}{{}}", *pair, written_by_users=written_by_users)
    ours, theirs = model.get("properties", {}), crd.get("properties", {})
    for name in sorted(set(ours) ^ set(theirs)):
        yield f"{path}.{name}: only in the {'model' if name in ours else 'CRD'}"
    if written_by_users and sorted(model.get("required", ())) != sorted(crd.get("required", ())):
        yield f"{path}: the model requires {model.get('required')}, the CRD {crd.get('required')}"
    for name in sorted(set(ours) & set(theirs)):
        yield from differences(f"{path}.{name}", ours[name], theirs[name], written_by_users=written_by_users)
        if written_by_users:
            yield from _default_differences(f"{path}.{name}", ours[name], theirs[name])


def _default_differences(path: str, model: Schema, crd: Schema) -> Iterator[str]:
    given = defaulted(crd, crd["default"]) if "default" in crd else None
    meant = _pruned(model.get("default"))
    if _pruned(given) != meant:
        yield f"{path}: the model's default is {meant}, the CRD's {given}"


def _pruned(value: Any) -> Any:
    """Without what says nothing: null, empty text, list or map."""
    if isinstance(value, dict):
        kept = {name: _pruned(child) for name, child in value.items()}
        value = {name: child for name, child in kept.items() if child is not None}
    return None if value in (None, "", [], {}) else value


@pytest.mark.parametrize(
    ("kind", "part", "model"),
    [
        ("AutoGLMStudy", "spec", StudySpec),
        ("AutoGLMStudy", "status", StudyStatus),
        ("AutoGLMEndpoint", "spec", EndpointSpec),
        ("AutoGLMEndpoint", "status", EndpointStatus),
    ],
)
def test_model_and_crd_are_the_same(kind: str, part: str, model: type[BaseModel]) -> None:
    crd = schema(kind)["properties"][part]
    found = list(differences(part, model_schema(model), crd, written_by_users=part == "spec"))
    assert not found, "\n" + "\n".join(found)


def test_the_crd_lists_exactly_the_tasks_of_the_catalog() -> None:
    assert schema("AutoGLMStudy")["properties"]["spec"]["properties"]["task"]["enum"] == sorted([*TASKS, AUTO])


def test_exactly_the_editable_fields_may_change() -> None:
    spec = schema("AutoGLMStudy")["properties"]["spec"]["properties"]

    def editable(properties: Schema) -> set[str]:
        return {name for name, node in properties.items() if "self == oldSelf" not in _rules(node)}

    assert editable(spec) == EDITABLE | {"trials", "trainer"}
    assert editable(spec["trials"]["properties"]) == EDITABLE_TRIALS
    assert editable(spec["trainer"]["properties"]) == EDITABLE_TRAINER


def test_what_may_not_change_may_not_come_or_go_either() -> None:
    spec = schema("AutoGLMStudy")["properties"]["spec"]
    for path, node in nodes(spec, "spec"):
        for name, child in node.get("properties", {}).items():
            always_there = name in node.get("required", ()) or "default" in child
            if "self == oldSelf" in _rules(child) and not always_there:
                assert f"has(self.{name}) == has(oldSelf.{name})" in _rules(node), f"{path}.{name}"


def _rules(node: Schema) -> list[str]:
    return [rule["rule"] for rule in node.get(RULES, ())]
