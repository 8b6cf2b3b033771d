"""A worker of a few lines that keeps the protocol: the supervisor is tested without seconds of imports a process.

What it does wrong on purpose is told by the environment variable STANDIN, a JSON object:
`seconds` a trial takes, `exit` code at once, `kill` = trials whose first attempt ends by SIGKILL, `hang` = ignore
SIGTERM, `metric` = value instead of the usual one. Of further objectives a trial has its `head_c`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoglm_api.environment import WorkerEnvironment
from autoglm_api.exits import Cause, ExitCode, Termination


def work(told: Mapping[str, Any], environment: WorkerEnvironment) -> int:
    if "exit" in told:
        message = Termination(cause=Cause.DATA, message="train.jsonl is empty")
        if told["exit"] == ExitCode.DATA:
            environment.termination_log.write_text(message.model_dump_json())
        print("about to end")
        return int(told["exit"])
    # Below, so that ending at once takes no second of imports.
    import optuna

    from autoglm_api.attempts import Owner, TrialAttribute
    from autoglm_store.attempts import attempt_of, fail, tell
    from autoglm_store.claim import Nothing
    from autoglm_store.connection import load_study
    from autoglm_store.ledger import origin_of
    from autoglm_store.limits import read_run
    from autoglm_store.points import next_assignment
    from autoglm_store.pruners import build_pruner
    from autoglm_store.samplers import build_sampler

    study = load_study(environment.storage_url, environment.study)
    run = read_run(study)
    study.sampler, study.pruner = build_sampler(run), build_pruner(run)
    owner = Owner(name=environment.owner_name, identity=environment.owner_identity)
    released: list[int] = []
    if told.get("hang"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: released.append(1))
    while not released:
        claimed = next_assignment(study, run, owner)
        if isinstance(claimed, Nothing):
            return ExitCode.NOTHING_LEFT
        until = time.monotonic() + told.get("seconds", 0.01)
        while time.monotonic() < until:
            time.sleep(0.01)
            if released:
                fail(study, claimed.attempt, Cause.RELEASED, "asked to end")
                return ExitCode.RELEASED
        if origin_of(claimed.attempt) in told.get("kill", []) and attempt_of(claimed.attempt) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        value = told.get("metric", 1.0 - abs(float(claimed.parameters.get("head_c", 1)) - 7) / 1000)
        values = [value, *(float(claimed.parameters.get("head_c", 1)) for _ in run.objectives[1:])]
        measured = {objective.metric: each for objective, each in zip(run.objectives, values, strict=True)}
        claimed.trial.set_user_attr(TrialAttribute.METRICS, measured)
        tell(study, claimed.trial, optuna.trial.TrialState.COMPLETE, values)
    return ExitCode.RELEASED


def export(environment: WorkerEnvironment) -> int:
    from autoglm_api.attempts import Export
    from autoglm_api.manifest import MANIFEST
    from autoglm_store.connection import load_study
    from autoglm_store.ledger import best
    from autoglm_store.limits import read_run, write_export

    study = load_study(environment.storage_url, environment.study)
    run = read_run(study)
    winner = best(study.get_trials(), run)
    assert winner is not None
    folder = Path(run.artifacts_uri.removeprefix("file://")) / "export"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.html").write_text(f"<h1>trial {winner.number}</h1>")
    (folder / MANIFEST).write_text("{}")
    fields = {"uri": folder.as_uri(), "digest": "sha256:" + "0" * 64, "trial": winner.number}
    metric = {"metric": run.objective.metric, "direction": run.objective.direction, "value": winner.values[0]}
    known = {name: value for name, value in metric.items() if name in Export.model_fields}
    write_export(study, Export(**fields, **known, metrics={run.objective.metric: 0.5}))
    return 0


if __name__ == "__main__":
    read = WorkerEnvironment.read(os.environ)
    command = sys.argv[1]
    sys.exit(export(read) if command == "export" else work(json.loads(os.environ.get("STANDIN", "{}")), read))
