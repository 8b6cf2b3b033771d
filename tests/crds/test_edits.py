"""What may be edited while a study exists, and what not, as CEL says it."""

from __future__ import annotations

import pytest
from tests.crds.invalid import RANK, Spec, document, study
from tests.crds.schema import refusals

EDITABLE: list[Spec] = [
    {"suspend": True},
    {"trials": {"max": 40, "parallel": 3, "maxFailed": 9}},
    {"budget": {"deadline": "2026-12-01T18:00:00Z"}},
    {"promotion": {"policy": "Never"}},
    {"trainer": {"resources": {"limits": {"memory": "8Gi"}}}},
    {"ttlSecondsAfterFinished": 0},
    {"deletionPolicy": "Delete"},
]


@pytest.mark.parametrize("change", EDITABLE, ids=lambda change: next(iter(change)))
def test_editable_fields_may_change(change: Spec) -> None:
    assert refusals("AutoGLMStudy", document(study(**change)), old=document(study())) == []


IMMUTABLE: list[Spec] = [
    {"model": {"source": "hf://a/b"}},
    {"data": {"train": {"source": "s3://bucket/other.jsonl"}}},
    {"objectives": [{"metric": "f1_macro", "direction": "Maximize", "goal": 0.9}]},
    {"constraints": [{"metric": "loss", "operator": "LessOrEqual", "value": 1}]},
    {"parameters": [RANK]},
    {"enqueue": [{"lora_r": 8}]},
    {"sampler": {"seed": 8}},
    {"sampler": {"startupTrials": 8}},
    {"sampler": {"type": "NSGAII", "populationSize": 8}},
    {"pruner": {"percentile": 20}},
    {"pruner": {"type": "None"}},
    {"trials": {"retries": 0}},
    {"export": {"trainOn": "TrainAndValidation"}},
    {"trials": {"perPod": 1}},
    {"trials": {"timeoutSeconds": 60}},
    {"trainer": {"image": "other"}},
    {"trainer": {"pod": {"nodeSelector": {"a": "b"}}}},
    {"artifacts": {"uri": "s3://bucket/models"}},
    {"storage": {"secretRef": {"name": "own"}}},
    {"warmStart": {"fromStudies": ["earlier"]}},
]


@pytest.mark.parametrize("change", IMMUTABLE, ids=str)
def test_other_fields_may_neither_change_nor_come_nor_go(change: Spec) -> None:
    before, after = document(study()), document(study(**change))
    assert any("once the study exists" in text for text in refusals("AutoGLMStudy", after, old=before))
    assert any("once the study exists" in text for text in refusals("AutoGLMStudy", before, old=after))
