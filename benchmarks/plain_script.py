"""The script that people write without us: `study.optimize` around `transformers.Trainer`, all loaded anew each trial.

`python -m benchmarks.plain_script INSTRUCTIONS RESULT`, both JSON files. It imports nothing of the project.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model
from typing_extensions import override

PROCESS_START = "AUTOGLM_BENCH_STARTED"


@dataclass(frozen=True)
class Instructions:
    """What to train; `points` and `seeds` belong together, one a trial.

    A point holds `method` (lora or head), `learning_rate`, `epochs`, `batch_size`, `max_length`, and in how many
    equal parts of the training the validation rows are measured, `evaluations`; for lora also `lora_r`, `lora_alpha`.
    """

    model: str
    train: str
    validation: str
    scratch: str
    points: list[dict[str, Any]]
    seeds: list[int]


class Rows(torch.utils.data.Dataset[dict[str, Any]]):
    """Tokenised rows; the collator pads each batch to its longest."""

    def __init__(self, file: str, labels: list[str], tokenizer: Any, max_length: int) -> None:
        rows = read(file)
        self.encoded = tokenizer([row["text"] for row in rows], truncation=True, max_length=max_length)
        self.labels = [labels.index(row["label"]) for row in rows]

    def __len__(self) -> int:
        return len(self.labels)

    @override
    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**{key: value[index] for key, value in self.encoded.items()}, "labels": self.labels[index]}


def read(file: str) -> list[dict[str, str]]:
    """The rows of a JSONL file."""
    return [json.loads(line) for line in Path(file).read_text(encoding="utf-8").splitlines() if line]


def objective(trial: optuna.Trial, todo: Instructions) -> float:
    """Train at the trial's point and give the validation accuracy."""
    point, seed = todo.points[trial.number], todo.seeds[trial.number]
    transformers.set_seed(seed)
    labels = sorted({row["label"] for row in read(todo.train)})
    tokenizer = transformers.AutoTokenizer.from_pretrained(todo.model)
    train = Rows(todo.train, labels, tokenizer, point["max_length"])
    validation = Rows(todo.validation, labels, tokenizer, point["max_length"])
    steps = math.ceil(len(train) / point["batch_size"]) * point["epochs"]
    trainer = transformers.Trainer(
        model=build(todo.model, len(labels), point),
        args=transformers.TrainingArguments(
            output_dir=todo.scratch,
            seed=seed,
            learning_rate=point["learning_rate"],
            weight_decay=0.01,
            num_train_epochs=point["epochs"],
            per_device_train_batch_size=point["batch_size"],
            per_device_eval_batch_size=32,
            eval_strategy="steps",
            eval_steps=steps // point["evaluations"],
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        ),
        train_dataset=train,
        eval_dataset=validation,
        processing_class=tokenizer,
        compute_metrics=accuracy,
    )
    trainer.train()
    # The last evaluation is the trial's value; nobody evaluates twice.
    return float(next(entry["eval_accuracy"] for entry in reversed(trainer.state.log_history) if "eval_loss" in entry))


def accuracy(found: Any) -> dict[str, float]:
    """`predictions` are logits (rows, labels)."""
    return {"accuracy": float(np.mean(found.predictions.argmax(-1) == found.label_ids))}


def build(model: str, labels: int, point: dict[str, Any]) -> Any:
    """The classifier of one trial: adapters on every linear layer, or only the new output layer."""
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(model, num_labels=labels)
    if point["method"] == "head":
        for name, parameter in classifier.named_parameters():
            parameter.requires_grad_(name.startswith("classifier"))
        return classifier
    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=point["lora_r"],
        lora_alpha=point["lora_alpha"],
        lora_dropout=0.05,
        target_modules="all-linear",
        modules_to_save=["classifier"],
    )
    return get_peft_model(classifier, config)


def main(arguments: list[str]) -> None:
    """Run the study and write when each trial began and ended, in seconds since the process's start, and its CPU."""
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started = float(os.environ[PROCESS_START])
    todo = Instructions(**json.loads(Path(arguments[0]).read_text()))
    trials: list[dict[str, float]] = []

    def timed(trial: optuna.Trial) -> float:
        began, cpu = time.time() - started, time.process_time()
        value = objective(trial, todo)
        ended, spent = time.time() - started, time.process_time() - cpu
        trials.append({"began": began, "ended": ended, "cpu": spent, "value": value})
        return value

    study = optuna.create_study(direction="maximize")
    study.optimize(timed, n_trials=len(todo.points))
    Path(arguments[1]).write_text(json.dumps(trials))


if __name__ == "__main__":
    main(sys.argv[1:])
