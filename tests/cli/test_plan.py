"""`autoglm plan` says what is known, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoglm_cli.errors import CliError
from autoglm_cli.main import app
from autoglm_cli.plan import documents_of

from .conftest import ROOT, STUDY


def planned(file: Path) -> str:
    answer = CliRunner().invoke(app, ["plan", str(file)], env={"COLUMNS": "200"})
    assert answer.exit_code == 0, answer.output
    return " ".join(answer.stdout.split())


def test_a_plan_names_space_trials_and_objects(study_file: Path) -> None:
    told = planned(study_file)
    assert "infinitely many points, 2 parameters" in told
    assert "at most 6" in told
    assert "small-<uid>-w0-0 … small-<uid>-w1-0" in told
    assert "small-<uid>-export" in told
    assert "Secret autoglm-storage" in told
    assert "claim autoglm-artifacts" in told


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ("{fraction: 0.3, groupBy: customer}", "30% of the training rows, in whole groups of one customer"),
        ("{fraction: 0.3, timeBy: written}", "30% of the training rows, the latest by written"),
    ],
)
def test_a_plan_says_how_rows_are_drawn(study_file: Path, validation: str, said: str) -> None:
    train = 'train: {source: "file://train.jsonl"'
    study_file.write_text(STUDY.replace(train + "}", train + f", limit: 5000}}\n    validation: {validation}"))
    told = planned(study_file)
    assert said in told
    assert "train.jsonl, at most 5,000 rows of it" in told


@pytest.mark.parametrize(
    ("rows", "header"),
    [
        ("train.csv", "id,text,label\n1,fine,praise\n"),
        ("train.csv", "\ufefftext,label\r\nfine,praise\r\n"),
        ("train.jsonl", '{"text": "fine", "label": "praise"}\n'),
    ],
)
def test_auto_reads_the_header_of_rows_that_are_here(study_file: Path, rows: str, header: str) -> None:
    (study_file.parent / rows).write_text(header)
    told = STUDY.replace("text-classification", "auto").replace("train.jsonl", rows)
    study_file.write_text(told)
    assert "text-classification (auto: data.columns names text and label and the study" in planned(study_file)


def test_auto_takes_rows_of_which_it_knows_the_answer_alone_for_a_table(study_file: Path) -> None:
    (study_file.parent / "train.csv").write_text("age,town,label\n31,Oslo,paid\n")
    told = STUDY.replace("text-classification", "auto").replace("train.jsonl", "train.csv")
    without_model = "\n".join(line for line in told.splitlines() if "model:" not in line)
    study_file.write_text(without_model[: without_model.index("  parameters:")] + "  trials: {max: 6}\n")
    planned_table = planned(study_file)
    assert "tabular-classification (auto: data.columns names label, data chooses among the columns and" in planned_table
    assert "features age, town" in planned_table


def test_columns_that_are_chosen_and_the_test_rows_are_told() -> None:
    told = planned(ROOT / "examples/tabular-regression.yaml")
    assert "ignored label" in told
    assert "none: the winner is not measured" not in told


@pytest.mark.parametrize("rows", ["", "[1, 2]\n", "{broken\n", '{"body": "fine"}\n', "\udcff\n"])
def test_auto_without_a_header_it_knows_asks_for_the_columns(study_file: Path, rows: str) -> None:
    (study_file.parent / "train.jsonl").write_text(rows, errors="surrogateescape")
    study_file.write_text(STUDY.replace("text-classification", "auto"))
    answer = CliRunner().invoke(app, ["validate", str(study_file)], env={"COLUMNS": "200"})
    assert answer.exit_code == 1
    assert f"{study_file}:6: spec.task: auto chooses by data.columns, which names nothing" in answer.output


def test_a_finite_space_smaller_than_the_budget_is_said(study_file: Path) -> None:
    study_file.write_text(STUDY.replace("float: {min: 1e-2, max: 1e+3, log: true}", "float: {min: 1, max: 4, step: 1}"))
    assert "4 points" in planned(study_file)
    assert "at most 4 (the space has no more)" in planned(study_file)


def test_sources_that_are_not_here_are_marked(study_file: Path) -> None:
    assert "(not on this machine)" not in planned(study_file)
    (study_file.parent / "train.jsonl").unlink()
    assert "file://train.jsonl (not on this machine)" in planned(study_file)
    study_file.write_text(study_file.read_text().replace("train.jsonl", "part-*.jsonl"))
    assert "file://part-*.jsonl (not on this machine)" in planned(study_file)
    for number in range(2):
        (study_file.parent / f"part-{number}.jsonl").touch()
    assert "file://part-*.jsonl (2 files)" in planned(study_file)


def test_secrets_buckets_and_databases_of_ones_own(tmp_path: Path) -> None:
    told = planned(ROOT / "examples/s3-postgres.yaml")
    assert "credentials: Secret s3" in told
    assert "s3://models/nlp/team-nlp/<uid>" in told
    assert "yours, by Secret own-postgres, key url" in told


def test_endpoints_are_planned_too() -> None:
    told = planned(ROOT / "examples/endpoint.yaml")
    assert "studies with app=sentiment in namespace team-nlp" in told
    assert "better by at least 0.005" in told


def test_an_invalid_file_is_not_planned(study_file: Path) -> None:
    study_file.write_text(STUDY.replace("max: 6", "max: 0"))
    with pytest.raises(CliError, match=r"spec\.trials\.max: must be ≥ 1, got 0"):
        documents_of(str(study_file))


def test_a_winner_that_is_trained_once_more_is_told() -> None:
    again = "of the winner, trained once more on training and validation rows together"
    assert again in planned(ROOT / "examples" / "token-classification.yaml")
    assert again not in planned(ROOT / "examples" / "question-answering.yaml")


def test_several_objectives_say_which_trial_becomes_the_model(study_file: Path) -> None:
    both = (
        "[{metric: f1_macro, direction: Maximize, goal: 0.9}, {metric: latency_p95_ms, direction: Minimize, goal: 20}]"
    )
    study_file.write_text(STUDY.replace("[{metric: f1_macro, direction: Maximize}]", both))
    told = planned(study_file)
    assert "objective Maximize f1_macro, ends early at 0.9 with the other goals" in told
    assert "objective Minimize latency_p95_ms, ends early at 20 with the other goals" in told
    assert "of the Pareto front the best f1_macro among those at the goals becomes the model" in told
    assert "pruner None" in told
