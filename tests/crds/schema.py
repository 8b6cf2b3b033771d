"""Reads the CRDs and judges objects as an API server does: schema, defaults, and CEL rules on create and update."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cel
import jsonschema
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CRDS = ROOT / "crds"
Schema = dict[str, Any]
PRESERVE = "x-kubernetes-preserve-unknown-fields"
RULES = "x-kubernetes-validations"


def read_yaml(path: Path) -> list[Any]:
    """All documents of a file, as plain Python values."""
    return [document for document in YAML(typ="safe").load_all(path) if document is not None]


@cache
def crd(kind: str) -> Schema:
    """The whole CRD of `AutoGLMStudy` or `AutoGLMEndpoint`."""
    (document,) = read_yaml(CRDS / f"autoglm.io_{kind.lower().replace('study', 'studie')}s.yaml")
    return dict(document)


def version(kind: str) -> Schema:
    """The CRD's one version."""
    (only,) = crd(kind)["spec"]["versions"]
    return dict(only)


def schema(kind: str) -> Schema:
    """The OpenAPI schema of the kind."""
    return dict(version(kind)["schema"]["openAPIV3Schema"])


def nodes(node: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every node of a schema with its path: `spec.parameters[].name`, `spec.resources.limits{}`."""
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}".lstrip("."))
    if "items" in node:
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(node["additionalProperties"], f"{path}{{}}")


def defaulted(node: Schema, value: Any) -> Any:
    """`value` with the schema's defaults filled in, as the API server stores it."""
    value = copy.deepcopy(value)
    if isinstance(value, dict):
        for name, child in node.get("properties", {}).items():
            if name not in value and "default" in child:
                value[name] = copy.deepcopy(child["default"])
            if name in value:
                value[name] = defaulted(child, value[name])
    elif isinstance(value, list) and "items" in node:
        value = [defaulted(node["items"], item) for item in value]
    return value


def refusals(kind: str, document: Any, old: Any = None) -> list[str]:
    """Why an API server with CEL would refuse to create `document`, or to replace `old` by it; empty = accepted."""
    root = schema(kind)
    document = defaulted(root, document)
    structural = [_sentence(error) for error in _validator(root).iter_errors(document)]
    structural += _unknown_fields(root, document, "") + _duplicates(root, document, "")
    if structural:
        return structural
    return list(_broken_rules(root, document, defaulted(root, old) if old is not None else None, ""))


def _validator(root: Schema) -> Any:
    # OpenAPI 3.0 means draft 4 here: exclusiveMinimum is a boolean.
    return jsonschema.Draft4Validator(root, format_checker=jsonschema.FormatChecker())


def _sentence(error: jsonschema.ValidationError) -> str:
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"


def _unknown_fields(node: Schema, value: Any, path: str) -> list[str]:
    """What the server would prune, or refuse with strict field validation (kubectl's default)."""
    if isinstance(value, list):
        return [text for item in value for text in _unknown_fields(node.get("items", {}), item, f"{path}[]")]
    if not isinstance(value, dict) or node.get(PRESERVE):
        return []
    known = node.get("properties", {})
    if "additionalProperties" in node or path == ".metadata":
        return []
    found = [f"{path}.{name}: unknown field" for name in value if name not in known]
    return found + [
        text for name in value if name in known for text in _unknown_fields(known[name], value[name], f"{path}.{name}")
    ]


def _duplicates(node: Schema, value: Any, path: str) -> list[str]:
    if isinstance(value, dict):
        known = node.get("properties", {})
        return [
            text for name in value if name in known for text in _duplicates(known[name], value[name], f"{path}.{name}")
        ]
    keys = node.get("x-kubernetes-list-map-keys")
    if not isinstance(value, list) or not keys:
        return []
    names = [tuple(item.get(key) for key in keys) for item in value]
    return [f"{path}: duplicate {name}" for name in {name for name in names if names.count(name) > 1}]


def _broken_rules(node: Schema, value: Any, old: Any, path: str) -> Iterator[str]:
    for rule in node.get(RULES, ()):
        if "oldSelf" in rule["rule"] and old is None:
            continue
        if not cel.evaluate(rule["rule"], {"self": _typed(node, value), "oldSelf": _typed(node, old)}):
            yield f"{path}: {rule['message']}"
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, child in node.get("properties", {}).items():
            if name in value:
                yield from _broken_rules(child, value[name], before.get(name), f"{path}.{name}")
    elif isinstance(value, list) and "items" in node:
        for index, item in enumerate(value):
            yield from _broken_rules(node["items"], item, None, f"{path}[{index}]")


def _typed(node: Schema, value: Any) -> Any:
    """`number` is a double in CEL even where it is written `1`."""
    if node.get("type") == "number" and value is not None:
        return float(value)
    if isinstance(value, dict):
        known = node.get("properties", {})
        return {name: _typed(known.get(name, {}), child) for name, child in value.items()}
    if isinstance(value, list):
        return [_typed(node.get("items", {}), item) for item in value]
    return value
