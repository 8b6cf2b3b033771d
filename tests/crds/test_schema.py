"""The CRDs are documented, bounded, structural and within what old and new API servers accept."""

from __future__ import annotations

import re
from typing import Any

import pytest
from tests.crds.schema import PRESERVE, RULES, Schema, crd, nodes, schema, version

KINDS = ("AutoGLMStudy", "AutoGLMEndpoint")
JUNCTORS = ("oneOf", "anyOf", "allOf")


def parts(kind: str, part: str) -> list[tuple[str, Schema]]:
    return list(nodes(schema(kind)["properties"][part], part))


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_subresource(kind: str) -> None:
    names = crd(kind)["spec"]["names"]
    assert names["kind"] == kind
    assert names["shortNames"] == ["ags" if kind == "AutoGLMStudy" else "agep"]
    assert names["categories"] == ["autoglm"]
    assert crd(kind)["metadata"] == {"name": f"{names['plural']}.autoglm.io"}
    assert version(kind)["subresources"] == {"status": {}}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_field_is_described(kind: str, part: str) -> None:
    silent = [
        path
        for path, node in parts(kind, part)
        if not path.endswith(("[]", "{}")) and not re.search(r"[.!?]$|`\.$", node.get("description", ""))
    ]
    assert not silent, "fields without a description that is a sentence"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_every_list_string_and_map_is_bounded(kind: str, part: str) -> None:
    """CEL costs are estimated from the bounds, and etcd keeps what is accepted."""
    limits = {"array": "maxItems", "string": "maxLength"}
    unbounded = []
    for path, node in parts(kind, part):
        bound = limits.get(str(node.get("type")))
        if node.get("type") == "object" and "additionalProperties" in node:
            bound = "maxProperties"
        if bound and bound not in node and "enum" not in node and node.get("format") != "date-time":
            unbounded.append(path)
    assert not unbounded


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("part", ["spec", "status"])
def test_schemas_are_structural(kind: str, part: str) -> None:
    for path, node in parts(kind, part):
        assert "type" in node or node.get(PRESERVE) is True, f"{path} has no type"
        assert "uniqueItems" not in node, f"{path}: uniqueItems is forbidden in a CRD"
        assert node.get("default", True) not in ("", None), f"{path}: Kubernetes 1.20 reads an empty default as null"
        for junctor in JUNCTORS:
            assert junctor not in node, f"{path}: write a rule; {junctor} says which member failed, and no rule is run"


@pytest.mark.parametrize("kind", KINDS)
def test_rules_look_only_at_what_cel_may_see(kind: str) -> None:
    """A list or map of untyped values has no type in CEL: a rule there is refused by the API server."""
    for path, node in parts(kind, "spec"):
        for rule in node.get(RULES, ()):
            assert _has_cel_type(node), f"{path} has a rule but no type in CEL"
            assert rule["message"], f"{path}: {rule['rule']} has no message"
            for name in re.findall(r"\bself\.([a-zA-Z]+)", rule["rule"]):
                if node["type"] == "object":
                    assert _has_cel_type(node["properties"][name]), f"{path}.{name} cannot be seen by CEL"
    assert all("oldSelf" not in str(node["items"].get(RULES, "")) for _, node in parts(kind, "spec") if "items" in node)


def _has_cel_type(node: Schema) -> bool:
    if node.get("type") == "array":
        return _has_cel_type(node["items"])
    if isinstance(node.get("additionalProperties"), dict):
        return _has_cel_type(node["additionalProperties"])
    return "type" in node


@pytest.mark.parametrize("kind", KINDS)
def test_columns_read_declared_fields_and_conditions_by_type(kind: str) -> None:
    columns: dict[str, Any] = {
        column["name"]: column["jsonPath"] for column in version(kind)["additionalPrinterColumns"]
    }
    wanted = ["Phase", "Progress", "Running", "Best", "Ready", "Age"]
    if kind == "AutoGLMEndpoint":
        wanted = ["Phase", "Replicas", "Study", "Best", "Ready", "Age"]
    assert [name for name in columns if name in wanted] == wanted
    declared = {path for path, _ in parts(kind, "status")}
    for name, path in columns.items():
        if path.startswith(".metadata"):
            continue
        assert re.sub(r"\[\?\(@\.type=='\w+'\)\]", "[]", path).lstrip(".") in declared, name
        assert "[-1:]" not in path
