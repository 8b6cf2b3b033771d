"""What is wrong is refused: by the schema, by CEL where the API server knows it, and always by the models."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from tests.crds.invalid import ENDPOINTS, METHOD, STUDIES, Spec, document, study
from tests.crds.schema import refusals

from autoglm_api.endpoint import EndpointSpec
from autoglm_api.run import freeze
from autoglm_api.study import StudySpec


def _accept_study(spec: Spec) -> None:
    freeze(StudySpec.model_validate(spec), namespace="a", name="a", uid="a", artifacts_uri="s3://bucket/models")


CASES = [("AutoGLMStudy", _accept_study, *case) for case in STUDIES]
CASES += [("AutoGLMEndpoint", EndpointSpec.model_validate, *case) for case in ENDPOINTS]


@pytest.mark.parametrize(("kind", "accept", "name", "spec", "first", "words"), CASES, ids=[case[2] for case in CASES])
def test_invalid_specs_are_refused(
    kind: str, accept: Callable[[Spec], object], name: str, spec: Spec, first: str, words: str
) -> None:
    answers = refusals(kind, document(spec, kind))
    if first == "model":
        assert answers == [], "the schema or CEL refuses this already"
    else:
        assert words in " ".join(answers), answers
    with pytest.raises(ValueError) as refused:  # the models refuse everything: API servers before 1.25 have no CEL
        accept(copy.deepcopy(spec))
    assert first != "model" or words in str(refused.value)


def test_the_table_covers_cel_alone() -> None:
    """Whatever schema and CEL say differently, each rule that judges one object is broken by some row."""
    spoken = {
        text.split(": ", 1)[1]
        for case in STUDIES
        for text in refusals("AutoGLMStudy", document(case[1]))
        if case[2] == "cel"
    }
    assert spoken >= {
        "min must not be greater than max",
        "log needs min > 0",
        "log and step exclude each other",
        "when.parameter must name another parameter of this list",
        "names that start with AUTOGLM_ are set by the operator",
        "startupTrials is for TPE, GP and CmaEs",
        "populationSize is for NSGAII and NSGAIII",
        "give exactly one of source, fraction",
        "groupBy and timeBy exclude each other",
        "groupBy and timeBy say how a fraction is drawn; a source is taken as it is",
        "give exactly one of float, int, categorical",
        "give exactly one of emptyDir, persistentVolumeClaim, configMap",
    }


def test_numbers_need_no_quotes_and_choices_may_be_any_scalar() -> None:
    spec = study(
        parameters=[
            {"name": "learning_rate", "float": {"min": 1e-5, "max": 1, "log": True}},
            {"name": "batch_size", "categorical": {"choices": [8, 16]}},
            {"name": "dropout", "categorical": {"choices": [0.0, 0.1]}},
            METHOD,
        ],
        enqueue=[{"learning_rate": 1e-4, "batch_size": 16, "method": "head"}],
        trainer={"resources": {"limits": {"cpu": 0.5, "memory": "4Gi", "nvidia.com/gpu": 1}}},
    )
    assert refusals("AutoGLMStudy", document(spec)) == []
    parsed = StudySpec.model_validate(spec)
    assert parsed.parameters[1].categorical is not None
    assert parsed.parameters[1].categorical.choices == (8, 16)
