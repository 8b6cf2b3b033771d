"""`autoglm validate`: every mistake has its line, no mistake has a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoglm_api.catalog import METHODS
from autoglm_cli.main import app
from autoglm_cli.validate import examine

from .conftest import STUDY


def findings(text: str, tmp_path: Path) -> list[str]:
    """What is told of a file with this content, without the file's name."""
    file = tmp_path / "s.yaml"
    file.write_text(text)
    return [
        finding.sentence.removeprefix(f"{tmp_path}/")
        for finding in examine(str(file)).findings
        if "relative to this file" not in finding.sentence
    ]


def edited(old: str, new: str) -> str:
    assert old in STUDY
    return STUDY.replace(old, new)


def test_a_valid_study_has_no_findings(tmp_path: Path) -> None:
    assert findings(STUDY, tmp_path) == []


KNOWN_METHODS = str(list(METHODS))
NAME_RULE = "must be at most 253 lower-case letters, digits, - and ., a letter or digit at both ends"


@pytest.mark.parametrize(
    ("old", "new", "field", "message"),
    [
        ("max: 6", "max: 0", "spec.trials.max", "must be ≥ 1, got 0"),
        ("max: 6", 'max: "6"', "spec.trials.max", 'must be a whole number, got "6"'),
        ("trials:", "trails:", "spec.trails", "unknown field trails; did you mean trials?"),
        (
            "task: text-c",
            "task: txt-c",
            "spec.task",
            "unknown task txt-classification; did you mean text-classification?",
        ),
        ("f1_macro", "f1", "spec.objectives[0].metric", "text-classification has no metric f1; did you mean f1_macro?"),
        (
            "min: 1e-2, max: 1e+3",
            "min: 1e+3, max: 1e-2",
            "spec.parameters[1].float",
            "min must not be greater than max, got min 1000.0 and max 0.01",
        ),
        ("min: 1e-2", "min: 0", "spec.parameters[1].float", "log needs min > 0, got 0.0"),
        ("[head]", "[]", "spec.parameters[0].categorical.choices", "must have at least 1 members, got []"),
        ("[head]", "[q]", "spec.parameters[0]", f"method must be choices from {KNOWN_METHODS}, got ['q']"),
        (
            "name: head_c",
            "name: head_C",
            "spec.parameters[1].name",
            "text-classification has no parameter head_C; did you mean head_c?",
        ),
        (
            "log: true}}",
            "log: true}, when: {parameter: mehtod, in: [head]}}",
            "spec.parameters[1]",
            "head_c.when names the unknown parameter mehtod; known: head_c, method",
        ),
        (
            "log: true}}",
            "log: true}, when: {parameter: head_c, in: [1]}}",
            "spec.parameters[1]",
            "conditions form a circle: head_c -> head_c",
        ),
        ("name: small", "name: Small", "metadata.name", f'{NAME_RULE}, got "Small"'),
        (
            "kind: AutoGLMStudy",
            "kind: AutoGLMstudies",
            "kind",
            "unknown kind AutoGLMstudies; did you mean AutoGLMStudy?",
        ),
        ("v1alpha1", "v1", "apiVersion", 'must be autoglm.io/v1alpha1, got "autoglm.io/v1"'),
    ],
)
def test_a_mistake_is_told_with_line_field_value_and_limit(
    old: str, new: str, field: str, message: str, tmp_path: Path
) -> None:
    text = edited(old, new)
    line = next(number for number, row in enumerate(text.splitlines(), start=1) if new in row)
    assert f"s.yaml:{line}: {field}: {message}" in findings(text, tmp_path)


def test_what_is_missing_is_told_where_it_should_be(tmp_path: Path) -> None:
    assert findings(edited("  name: small\n", "  labels: {}\n"), tmp_path) == ["s.yaml:3: metadata.name: is required"]
    found = findings(edited('source: "file://train.jsonl"', "sorce: 1"), tmp_path)
    assert "s.yaml:9: spec.data.train.source: is required" in found


def test_enqueued_points_are_checked_one_by_one(tmp_path: Path) -> None:
    points = "  enqueue:\n  - {method: lora}\n  - {head_c: 5000}\n  - {epochs: 2}\n"
    found = findings(STUDY + points, tmp_path)
    assert [row.split(": ", 2)[1] for row in found] == [
        "spec.enqueue[0].method",
        "spec.enqueue[1].head_c",
        "spec.enqueue[2].epochs",
    ]


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    text = STUDY.replace("f1_macro", "f1").replace("max: 6", "max: 0").replace("name: small", "name: S")
    lines = [int(row.split(":")[1]) for row in findings(text, tmp_path)]
    assert len(lines) == 3
    assert lines == sorted(lines)


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    assert findings(edited("min: 1e-2, max: 1e+3", "min: 1e-5, max: 5E-4"), tmp_path) == []


def test_anchored_values_stay_what_they_are(tmp_path: Path) -> None:
    text = edited("log: true}}", "log: &yes true}}") + "  suspend: *yes\n"
    assert findings(text, tmp_path) == []


def test_unquoted_times_are_times(tmp_path: Path) -> None:
    assert findings(STUDY + "  budget: {deadline: 2999-01-01T00:00:00Z}\n", tmp_path) == []
    (found,) = findings(STUDY + "  budget: {deadline: 2999-01-01}\n", tmp_path)
    assert "must be a time with its zone" in found


def test_several_documents_and_both_kinds(tmp_path: Path) -> None:
    endpoint = """---
apiVersion: autoglm.io/v1alpha1
kind: AutoGLMEndpoint
metadata: {name: e}
spec:
  source: {study: small, model: {uri: "s3://b/m", digest: "latest"}}
  replicas: -1
"""
    found = findings(STUDY + endpoint, tmp_path)
    assert "spec.source.model.digest: must match" in found[0]
    assert found[1].endswith("spec.replicas: must be ≥ 0, got -1")


def test_other_kinds_are_passed_by(tmp_path: Path) -> None:
    other = "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n---\n"
    assert findings(other + STUDY, tmp_path) == []
    assert findings(other, tmp_path) == ["s.yaml: holds no AutoGLMStudy and no AutoGLMEndpoint, only Secret"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"# only a comment\n---\n", "is empty"),
        (b"a: [1\nb: 2", "is not YAML"),
        (b"\x7fELF\x00\x01", "is a binary file"),
        ("name: caf\xe9".encode("latin-1"), "is not UTF-8 text (byte 0xe9)"),
        (b"- just\n- a list\n", "must be a mapping"),
        (b"42", "must be a mapping"),
        (b"a: 1\na: 2\n", "duplicate key"),
        (b"[" * 500, "nested too deeply"),
        (b"a: b: c", "is not YAML"),
        (b"a:\n\tx: 1", "s.yaml:2: is not YAML: a tab stands where only spaces may"),
        ("a: 1".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        (b"kind: AutoGLMStudy\napiVersion: autoglm.io/v1alpha1\nspec: []\n", "spec: must be a mapping, got []"),
        (b"x: !!python/object/apply:os.system [true]\nkind: AutoGLMStudy\n", "unknown field x"),
        (b"\xef\xbb\xbfkind: AutoGLMStudy\n", "apiVersion: must be"),
        (b"x" * (4 * 2**20), "is larger than 3 MiB"),
    ],
)
def test_what_is_no_study_at_all_gets_a_sentence(content: bytes, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_bytes(content)
    verdict = examine(str(file))
    assert not verdict.valid
    assert any(sentence in finding.sentence for finding in verdict.findings)


def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    (tmp_path / "s.yaml").write_text(bomb)
    assert "more than 100000 fields" in examine(str(tmp_path / "s.yaml")).findings[0].sentence


def test_warnings_do_not_make_a_study_invalid(tmp_path: Path) -> None:
    text = edited("{metric: f1_macro, direction: Maximize}", "{metric: loss, direction: Maximize}")
    file = tmp_path / "s.yaml"
    file.write_text(text.replace("max: 6, parallel: 2", "max: 1, parallel: 2"))
    verdict = examine(str(file))
    assert verdict.valid
    told = " ".join(finding.sentence for finding in verdict.findings)
    assert "seeks the worst model" in told
    assert "some will have nothing to do" in told
    assert "relative to this file" in told


def test_a_method_for_gpus_is_warned_of_where_the_pods_have_none(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(STUDY.replace("[head]", "[head, qlora]"))
    (told,) = (one for one in examine(str(file)).findings if "qlora" in one.sentence)
    assert told.warning
    assert told.problem.field == "spec.trainer.resources.limits"
    file.write_text(file.read_text() + '  trainer: {resources: {limits: {nvidia.com/gpu: "1"}}}\n')
    assert not [one for one in examine(str(file)).findings if "qlora" in one.sentence]


def test_exit_codes_tell_valid_invalid_and_unopenable_apart(study_file: Path, tmp_path: Path) -> None:
    cli = CliRunner()
    bad = tmp_path / "bad.yaml"
    bad.write_text(STUDY.replace("max: 6", "max: 0"))
    assert cli.invoke(app, ["validate", str(study_file)]).exit_code == 0
    assert cli.invoke(app, ["validate", str(study_file), str(bad)]).exit_code == 1
    assert cli.invoke(app, ["validate", str(tmp_path / "none.yaml"), str(bad)]).exit_code == 2
    assert cli.invoke(app, ["validate", str(tmp_path)]).exit_code == 2
    assert cli.invoke(app, ["validate"]).exit_code == 2
    unset = cli.invoke(app, ["validate", ""])
    assert (unset.exit_code, unset.stderr) == (2, "'': there is no such file\n")


def test_standard_input(study_file: Path) -> None:
    answer = CliRunner().invoke(app, ["validate", "-"], input=study_file.read_bytes())
    assert answer.exit_code == 0
    assert "<stdin>: AutoGLMStudy small: valid" in answer.stdout


def test_json_for_machines(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(STUDY.replace("max: 6", "max: 0"))
    answer = CliRunner().invoke(app, ["validate", "--json", str(bad)])
    told = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert told["valid"] is False
    assert told["documents"][0]["name"] == "small"
    (problem,) = told["problems"]
    assert problem["field"] == "spec.trials.max"
    assert problem["line"] == STUDY[: STUDY.index("trials:")].count("\n") + 1
