"""Renders the chart with the real Helm library."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
from helm_python import _native
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/autoglm"
NAMESPACE = "autoglm-system"
Object = dict[str, Any]
EXTERNAL = {"database": {"external": {"dsnSecret": {"name": "own"}}}}


@cache
def chart() -> helm_python.Chart:
    return helm_python.Chart.load(CHART)


def files(
    values: Object | None = None, api_versions: Sequence[str] = (), kube_version: str | None = None
) -> dict[str, str]:
    """Template path → what it rendered; `api_versions` are the kinds that the cluster knows beside Kubernetes' own."""
    options: Object = {"name": "autoglm", "namespace": NAMESPACE, "api_versions": list(api_versions)}
    if kube_version is not None:
        options["kube_version"] = kube_version
    # `Chart.render` does not pass on what the cluster is; the library below it does.
    rendered = _native.call_string("helm_render", chart()._raw(), json.dumps(values or {}), json.dumps(options))
    return {path.removeprefix("autoglm/templates/"): text for path, text in json.loads(rendered).items()}


def render(
    values: Object | None = None, api_versions: Sequence[str] = (), kube_version: str | None = None
) -> list[Object]:
    """Every object of the release."""
    texts = [text for path, text in files(values, api_versions, kube_version).items() if path.endswith(".yaml")]
    return [copy.deepcopy(document) for text in texts for document in _parsed(text)]


@cache
def _parsed(text: str) -> list[Object]:
    return [document for document in YAML(typ="safe").load_all(text) if document]


def select(objects: list[Object], kind: str, name: str | None = None) -> list[Object]:
    return [each for each in objects if each["kind"] == kind and name in (None, each["metadata"]["name"])]


def one(objects: list[Object], kind: str, name: str | None = None) -> Object:
    (found,) = select(objects, kind, name)
    return found


def operator_environment(objects: list[Object]) -> dict[str, str]:
    """The operator's literal environment variables."""
    (container,) = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
