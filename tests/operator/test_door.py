"""The door: what the schema lets through and this installation does not, as sentences."""

from __future__ import annotations

from typing import Any

import pytest
from tests.operator.simulation import make_spec

from autoglm_operator.planning.door import admit, is_allowed, is_metadata_host
from autoglm_operator.settings import Settings

BODY = make_spec().to_json_dict()


def refused(settings: Settings | None = None, **changes: Any) -> str:
    spec, sentence = admit(BODY | changes, settings or Settings())
    assert spec is None
    assert sentence is not None
    return sentence


def test_valid_spec_passes() -> None:
    assert admit(BODY, Settings()) == (make_spec(), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": "poetry"}, ["spec.task", "poetry", "text-classification"]),
        ({"trials": {"max": 0}}, ["spec.trials.max", "≥ 1", "got 0"]),
        ({"trialz": {}}, ["trialz", "trials"]),
        ({"objectives": [{"metric": "speed", "direction": "Maximize"}]}, ["objectives[0].metric", "speed", "accuracy"]),
        ({"parameters": [{"name": "lr", "float": {"min": 1, "max": 2}}]}, ["parameters[0]", "lr", "learning_rate"]),
        ({"parameters": [{"name": "head_c", "float": {"min": 5, "max": 2}}]}, ["parameters[0]", "min 5", "max 2"]),
        ({"model": {"source": "file:///etc"}}, ["spec.model.source", "file:///etc", "s3://"]),
        ({"data": {"train": {"source": "pvc://data/../other/x.csv"}}}, ["spec.data.train.source", "not allowed"]),
        ({"data": {"train": {"source": "pvc://data/*/x.csv"}}}, ["spec.data.train.source", "behind the last /"]),
        ({"data": {"train": {"source": "file:///etc/*"}}}, ["spec.data.train.source", "file:///etc/* is not allowed"]),
        (
            {"trainer": {"pod": {"env": [{"name": "HF_ENDPOINT", "value": "http://169.254.169.254/"}]}}},
            ["spec.trainer.pod.env[0].value", "link-local"],
        ),
        (
            {"task": "prompt-optimization", "model": {"endpoint": {"url": "https://0xa9fea9fe/v1", "model": "m"}}},
            ["spec.model.endpoint.url", "link-local"],
        ),
        (
            {"task": "prompt-optimization", "model": {"endpoint": {"url": "http://vllm.models/v1", "model": "m"}}},
            ["spec.model.endpoint.url", "http://vllm.models/v1 is not allowed", "https://"],
        ),
    ],
)
def test_refusal_names_field_value_and_limit(changes: dict[str, Any], words: list[str]) -> None:
    sentence = refused(**changes)
    assert all(word in sentence for word in words), sentence


def test_a_method_for_gpus_needs_a_gpu_in_the_trainers_pods() -> None:
    method = [{"name": "method", "categorical": {"choices": ["lora", "qlora"]}}]
    told = refused(parameters=method)
    assert "spec.trainer.resources.limits: method qlora needs a GPU" in told
    assert 'nvidia.com/gpu: "1"' in told
    trainer = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    assert admit(BODY | {"parameters": method, "trainer": trainer}, Settings())[1] is None


def test_several_problems_are_told_at_once() -> None:
    sentence = refused(model={"source": "file:///a"}, artifacts={"uri": "file:///b"})
    assert "spec.model.source" in sentence
    assert "spec.artifacts.uri" in sentence


@pytest.mark.parametrize(
    ("uri", "allowed", "expected"),
    [
        ("s3://bucket/key", "s3://", True),
        ("s3://bucket/key", "s3://bucket", True),
        ("s3://bucket-of-others/key", "s3://bucket", False),
        ("file:///mnt/models/a", "file:///mnt/models", True),
        ("file:///mnt/models", "file:///mnt/models/", True),
        ("file:///mnt/models-of-others/a", "file:///mnt/models", False),
        ("file:///mnt/models/../../etc/passwd", "file:///mnt/models", False),
        ("file:///mnt/models/%2e%2e/secret", "file:///mnt/models", False),
        ("file:///mnt/rows/part-*.csv", "file:///mnt/rows", True),
        ("file:///mnt/*", "file:///mnt/rows", False),
        ("hf://zai-org/glm-4-9b-hf", "hf://zai-org/", True),
        ("hf://other/model", "hf://zai-org/", False),
        ("hf://datasets/org/set@main/a.csv", "hf://datasets/org/set", True),
        ("hf://datasets/org/set@refs%2Fconvert%2Fparquet/a", "hf://datasets/org/set", True),
        ("hf://datasets/org/set@main/a.csv", "hf://datasets/org/set@v1", False),
        ("hf://datasets/org/set/a.csv", "hf://datasets/org/set@v1", False),
        ("hf://datasets/org/set2@main/a.csv", "hf://datasets/org/set", False),
        ("hf://datasets/or@g/set/a.csv", "hf://datasets/or", False),
        ("s3://bucket/set@main/a.csv", "s3://bucket/set", False),
    ],
)
def test_allowed_prefixes_are_whole_path_segments(uri: str, allowed: str, expected: bool) -> None:
    assert is_allowed(uri, (allowed,)) is expected


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "2852039166", "::ffff:169.254.169.254", "fe80::1", "metadata.google.internal", "METADATA"],
)
def test_metadata_services_are_known(host: str) -> None:
    assert is_metadata_host(host)
    assert not is_metadata_host("s3.example.com")
