"""After the search: export the best model, say what it is, serve it and ask it something."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import fsspec

from autoglm_api import environment as env
from autoglm_api.attempts import Export
from autoglm_api.locations import locate
from autoglm_api.predict import PredictRequest
from autoglm_store.front import front
from autoglm_store.ledger import best, origin_of
from autoglm_store.limits import read_export

from .errors import CliError, InterruptedRunError
from .local import LocalRun
from .machine import share
from .pool import log_tail
from .samples import sample
from .server import curl, predict, start_server
from .story import parameters, results

EXPORT = "export"
REPORT = "report.html"
TICK_SECONDS = 0.1


def export_best(local: LocalRun) -> Export:
    """The best model as a folder that the server loads, with its report; made again only if there is a better one.

    Raises:
        CliError: it failed; with the end of its log.
    """
    winner = best(local.study.get_trials(deepcopy=False), local.stored)
    assert winner is not None, "search() has found a candidate"
    exported = read_export(local.study)
    if exported is None or exported.trial != origin_of(winner):
        exported = _export_now(local)
    _fetch_report(local, exported)
    _tell(local, exported)
    return exported


def _export_now(local: LocalRun) -> Export:
    process = local.pool.start(EXPORT, local.worker, ["export"], share(0, 1, os.environ))
    with local.console.status("exporting: test rows, ONNX, model card, report"):
        while not (ended := local.pool.reap()):
            if local.interrupts.count:
                raise InterruptedRunError("interrupted while exporting; go on with the same command again")
            time.sleep(TICK_SECONDS)
    exported = read_export(local.study)
    if ended[0].code != 0 or exported is None:
        raise CliError(f"the export {ended[0].sentence}. The end of {process.log}:\n{log_tail(process.log)}")
    return exported


def _fetch_report(local: LocalRun, exported: Export) -> None:
    """Put the report where people look for it."""
    claims = Path(local.pool.shared[env.CLAIMS_ROOT])
    place = locate(exported.uri, claims_root=claims, credentials={}) / REPORT
    with fsspec.filesystem(place.protocol, **place.options).open(place.path, "rb") as source:
        local.folder.report.write_bytes(source.read())


def _tell(local: LocalRun, exported: Export) -> None:
    metrics = [objective.metric for objective in local.stored.objectives]
    trials = local.study.get_trials(deepcopy=False)
    winner = best(trials, local.stored)
    assert winner is not None, "it has been exported"
    others = len(front(trials, local.stored)) - 1
    chosen = f", the first of {others + 1} on the Pareto front" if others else ""
    local.say(
        f"    best  {results(winner.values, local.stored)} on validation rows, trial {exported.trial}{chosen}", "bold"
    )
    local.say(f"          {parameters(winner.params)}")
    if exported.test_digest and all(metric in exported.metrics for metric in metrics):
        told = results([exported.metrics[metric] for metric in metrics], local.stored)
        again = ", by the winner trained once more with the validation rows" if exported.trained_on else ""
        local.say(f"    test  {told} on rows that no trial has seen{again}")
    local.say(f"   model  {exported.uri}")
    local.say(f"  report  {local.folder.report}")


def _answered(answer: Mapping[str, Any], truth: str | None) -> str:
    """An answer on a line, beside the truth where the row tells it."""
    beside = "" if truth is None else f", the row says {truth or 'nothing'}"
    if "label" in answer and "score" in answer:
        return f"{answer['label']} ({answer['score']:.0%}{beside})"
    return f"{_words(answer)}{beside}"


def _words(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def serve_model(local: LocalRun, exported: Export, *, once: bool) -> None:
    """Serve the model, ask one question over HTTP and show the answer; then until Ctrl-C, unless `once`."""
    with local.console.status("starting the server"):
        server = start_server(local.pool, exported, local.name, lambda: local.interrupts.count > 0)
    item, truth = sample(local.stored)
    request = PredictRequest(model_name=local.name, task_type=local.stored.task, data=item)
    answer = predict(server.url, request).predictions[0]
    local.say(f"\n$ {curl(server.url, request)}", "dim")
    local.say(f"{_words(item)}\n→ {_answered(answer, truth)}", "bold")
    if not once:
        local.say(f"serving on {server.url}; Ctrl-C ends")
    while not (once or local.interrupts.count):
        if ended := local.pool.reap():
            raise CliError(f"the server {ended[0].sentence}. The end of its log:\n{log_tail(ended[0].process.log)}")
        time.sleep(TICK_SECONDS)
    server.process.popen.send_signal(signal.SIGTERM)
    server.process.popen.wait()
