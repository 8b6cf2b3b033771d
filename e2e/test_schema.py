"""The CRDs as an API server reads them: what it refuses, when, and in which words.

`tests/crds` judges the same objects by the same files in Python, with its own defaulting and its own CEL. Here a server
has the say, so that both agree: the schema on every version, the CEL rules from Kubernetes 1.25 on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e.conftest import Namespaces
from e2e.installation import Installation
from e2e.kube import Kube
from kubernetes.client.exceptions import ApiException
from tests.crds.invalid import document, study
from tests.crds.schema import refusals
from tests.crds.test_edits import EDITABLE, IMMUTABLE
from tests.crds.test_invalid import CASES

Json = dict[str, Any]
CEL_SINCE = 25


@pytest.fixture(scope="module")
def minor(installation: Installation) -> int:
    """The 36 of Kubernetes 1.36; the CRDs are there."""
    return installation.kube.minor_version()


def refusal(call: Callable[..., object], *arguments: Any, **options: Any) -> str:
    """What the API server says to a dry run; empty when it accepts."""
    try:
        call(*arguments, **options, dry_run=True)
    except ApiException as error:
        if error.status not in {400, 422}:
            raise
        return str(json.loads(error.body or "{}")["message"])
    return ""


@pytest.mark.parametrize(("kind", "_accept", "name", "spec", "first", "words"), CASES, ids=[case[2] for case in CASES])
def test_server_refuses_what_schema_and_rules_say(
    kube: Kube, minor: int, kind: str, _accept: object, name: str, spec: Json, first: str, words: str
) -> None:
    expected = refusals(kind, document(spec, kind))
    if minor < CEL_SINCE and all("unknown field" in each for each in expected):
        return  # dropped in silence
    said = refusal(kube.create, document(spec, kind), "default")
    if first == "model" or (first == "cel" and minor < CEL_SINCE):
        assert not said
    else:
        assert said
        assert first == "schema" or words in said, said


@pytest.fixture(scope="module")
def place(installation: Installation, namespaces: Namespaces) -> Iterator[str]:
    """One namespace for studies that never run."""
    name = namespaces.make()
    yield name
    namespaces.leave(name)


def suspended(name: str, spec: Json) -> Json:
    body = document({**study(**spec), "suspend": True})
    return {**body, "metadata": {"name": name}}


def back(change: Json, before: Json) -> Json:
    """The merge patch that takes a change back."""
    undone: Json = {}
    for name, value in change.items():
        if isinstance(value, dict) and isinstance(before.get(name), dict):
            undone[name] = back(value, before[name])
        else:
            undone[name] = before.get(name)
    return undone


@pytest.mark.parametrize("number", range(len(IMMUTABLE)), ids=[str(change) for change in IMMUTABLE])
def test_immutable_fields_neither_change_nor_come_nor_go(kube: Kube, minor: int, place: str, number: int) -> None:
    change = IMMUTABLE[number]
    plain = kube.create(suspended(f"before-{number}", {}), place)
    kube.create(suspended(f"after-{number}", change), place)
    coming = refusal(kube.patch, "AutoGLMStudy", f"before-{number}", place, {"spec": change})
    going = refusal(kube.patch, "AutoGLMStudy", f"after-{number}", place, {"spec": back(change, plain["spec"])})
    for said in (coming, going):
        assert ("once the study exists" in said) == (minor >= CEL_SINCE), said


def test_editable_fields_change_and_change_back(kube: Kube, place: str) -> None:
    plain = kube.create(suspended("edited", {}), place)
    for change in EDITABLE:
        assert not refusal(kube.patch, "AutoGLMStudy", "edited", place, {"spec": change})
        kube.patch("AutoGLMStudy", "edited", place, {"spec": change})
        assert not refusal(kube.patch, "AutoGLMStudy", "edited", place, {"spec": back(change, plain["spec"])})
        kube.patch("AutoGLMStudy", "edited", place, {"spec": {**back(change, plain["spec"]), "suspend": True}})
