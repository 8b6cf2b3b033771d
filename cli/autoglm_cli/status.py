"""`autoglm status`: how far studies are, on this machine or, through kubectl, in a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from autoglm_api.names import STUDY_PLURAL
from autoglm_api.study import GROUP

from .errors import CliError, UsageError
from .extras import require
from .folder import DEFAULT_ROOT, RunFolder, find_run, runs_in
from .sections import Columns, print_table

KUBECTL_SECONDS = 30


@dataclass(frozen=True)
class Row:
    """One study in the table."""

    name: str
    state: str
    trials: str
    best: str
    model: str


def status(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One study only.")] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Look into this namespace.")] = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Look into the whole cluster.")] = False,
    root: Annotated[Path, typer.Option("--dir", help="Where local runs are kept.")] = DEFAULT_ROOT,
) -> None:
    """Show how far studies are: local runs, or with -n or -A those in the cluster that kubectl talks to."""
    if namespace or everywhere:
        rows = list(cluster_rows(_kubectl(name, None if everywhere else namespace), everywhere=everywhere))
    else:
        rows = [local_row(run) for run in ([find_run(name, root)] if name else runs_in(root))]
    if not rows:
        where = "in the cluster" if everywhere else f"in namespace {namespace}" if namespace else f"in {root}"
        typer.echo(f"no studies {where}")
        return
    cells = [(row.name, row.state, row.trials, row.best, row.model) for row in rows]
    columns: Columns = dict.fromkeys(("NAME", "STATE", "TRIALS", "BEST", "MODEL"), "left")
    print_table(Console(highlight=False), columns, [(each, "") for each in cells])


def local_row(run: RunFolder) -> Row:
    """A run on this machine."""
    require("trainer")
    from datetime import UTC, datetime

    from autoglm_store.ledger import best, counts, end_reason, origin_of
    from autoglm_store.limits import read_export, read_fatal, read_limits, read_run

    from .local import open_study
    from .story import results

    if not run.has_study:
        return Row(run.path.name, "not begun", "", "", "")
    study = open_study(run)
    frozen, limits, trials = read_run(study), read_limits(study), study.get_trials(deepcopy=False)
    tally, leader, exported = counts(trials, limits), best(trials, frozen), read_export(study)
    reason = end_reason(trials, frozen, limits, datetime.now(UTC), read_fatal(study))
    state = "running" if run.is_locked() else str(reason) if reason else "interrupted"
    failed = f", {tally.failed} failed" if tally.failed else ""
    return Row(
        run.path.name,
        state,
        f"{tally.finished}/{limits.max}{failed}",
        "" if leader is None else f"{results(leader.values, frozen)} (trial {origin_of(leader)})",
        exported.uri if exported else "",
    )


def _kubectl(name: str | None, namespace: str | None) -> Mapping[str, Any]:
    """What `kubectl get` answers; kubectl brings its own configuration, credentials and plug-ins."""
    program = shutil.which("kubectl")
    if program is None:
        raise UsageError("kubectl is needed to look into a cluster, and is not on the PATH")
    where = ["--namespace", namespace] if namespace else ["--all-namespaces"]
    command = [program, "get", f"{STUDY_PLURAL}.{GROUP}", *([name] if name else []), *where, "--output", "json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=KUBECTL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise CliError(f"kubectl did not answer within {KUBECTL_SECONDS} s") from error
    if answer.returncode:
        raise CliError(f"kubectl: {answer.stderr.strip().splitlines()[-1] if answer.stderr.strip() else 'no answer'}")
    parsed: Mapping[str, Any] = json.loads(answer.stdout)
    return parsed


def cluster_rows(answer: Mapping[str, Any], *, everywhere: bool) -> Iterator[Row]:
    """Rows of a study, or of a list of studies, as the API server returns them."""
    for item in answer.get("items", [answer]):
        metadata, told = item["metadata"], item.get("status") or {}
        best, trials = told.get("best") or {}, told.get("trials") or {}
        finished = sum(trials.get(state, 0) for state in ("complete", "pruned", "infeasible", "failed"))
        failed = f", {trials['failed']} failed" if trials.get("failed") else ""
        yield Row(
            f"{metadata['namespace']}/{metadata['name']}" if everywhere else metadata["name"],
            _state(told.get("conditions") or []),
            f"{finished}/{item.get('spec', {}).get('trials', {}).get('max', '?')}{failed}",
            _best(item.get("spec", {}).get("objectives") or [], best) if best else "",
            (told.get("model") or {}).get("uri", ""),
        )


def _best(objectives: list[Mapping[str, Any]], best: Mapping[str, Any]) -> str:
    values = best.get("values") or [best["value"]]
    named = ", ".join(f"{each.get('metric', '')} {value:.4g}" for each, value in zip(objectives, values, strict=False))
    return f"{named} (trial {best['trial']})"


def _state(conditions: list[Mapping[str, Any]]) -> str:
    """The word that says most, by condition type and never by place: what is wrong first, then how far it is."""
    by_type = {condition["type"]: condition for condition in conditions}
    for type_ in ("Failed", "Stalled", "Suspended", "Queued", "Complete"):
        found = by_type.get(type_)
        if found and found["status"] == "True":
            reason = f" ({found['reason']})" if type_ in ("Failed", "Stalled") else ""
            return f"{type_.lower()}{reason}"
    ready = by_type.get("Ready")
    if ready is None or ready["status"] == "Unknown":
        return "not seen yet"
    return "running" if ready["status"] == "True" else f"not ready ({ready['reason']})"
