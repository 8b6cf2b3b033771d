"""Every example is accepted by schema, CEL and models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.crds.schema import ROOT, read_yaml, refusals

from autoglm_api.endpoint import EndpointSpec
from autoglm_api.run import check_task
from autoglm_api.study import StudySpec

DOORS: dict[str, Callable[[dict[str, Any]], object]] = {
    "AutoGLMStudy": lambda spec: check_task(StudySpec.model_validate(spec)),
    "AutoGLMEndpoint": EndpointSpec.model_validate,
}


def _ours() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((ROOT / "examples").rglob("*.yaml")):
        for document in read_yaml(path):
            if document.get("apiVersion") == "autoglm.io/v1alpha1":
                yield path, document


@pytest.mark.parametrize(
    ("path", "document"), [pytest.param(*pair, id=f"{pair[0].name}-{pair[1]['metadata']['name']}") for pair in _ours()]
)
def test_examples_are_accepted(path: Path, document: dict[str, Any]) -> None:
    kind = document["kind"]
    assert refusals(kind, document) == [], path
    DOORS[kind](document["spec"])
