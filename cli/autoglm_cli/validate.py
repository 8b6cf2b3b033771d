"""`autoglm validate`: is this file right? Needs no cluster; says everything that is wrong, with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import typer

from autoglm_api.problems import Problem

from .checks import Checked, check
from .documents import STDIN, NotYamlError, parse, read
from .errors import UsageError


@dataclass(frozen=True)
class Finding:
    """One line of the answer; `line` None = the file as a whole."""

    file: str
    line: int | None
    problem: Problem
    warning: bool = False

    @property
    def sentence(self) -> str:
        """`file:line: field: message`, as editors and CI understand it."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {'warning: ' if self.warning else ''}{self.problem.sentence}"

    def to_json_dict(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "file": self.file,
            "line": self.line,
            "field": self.problem.field,
            "message": self.problem.message,
        }


@dataclass(frozen=True)
class Verdict:
    """The answer for one file; `usage` = it could not even be opened."""

    file: str
    checked: tuple[Checked, ...] = ()
    findings: tuple[Finding, ...] = ()
    usage: bool = False

    @property
    def valid(self) -> bool:
        """Whether nothing but warnings was found."""
        return all(finding.warning for finding in self.findings)


def examine(name: str) -> Verdict:
    """Check all documents of one file (`-` = standard input)."""
    file = "<stdin>" if name == STDIN else name or repr(name)
    checked: list[Checked] = []
    findings: list[Finding] = []
    try:
        for document in parse(read(name), file):
            checked.append(check(document))
            findings += _findings(checked[-1])
    except NotYamlError as error:
        findings.append(Finding(file, error.line, Problem((), str(error))))
    except UsageError as error:
        return Verdict(file, findings=(Finding(file, None, Problem((), _without_name(str(error), file))),), usage=True)
    if not findings and not any(known.ours for known in checked):
        found = ", ".join(sorted({known.kind for known in checked}))
        told = f"holds no AutoGLMStudy and no AutoGLMEndpoint, only {found}" if found else "is empty"
        findings.append(Finding(file, None, Problem((), told)))
    return Verdict(file, tuple(checked), tuple(findings))


def _findings(checked: Checked) -> Iterator[Finding]:
    document = checked.document
    for problem in checked.problems:
        yield Finding(document.file, document.line(problem.path), problem)
    for problem in checked.warnings:
        yield Finding(document.file, document.line(problem.path), problem, warning=True)


def _without_name(message: str, file: str) -> str:
    return message.removeprefix(file).lstrip(": ")


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="YAML files; - reads standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Check studies and endpoints without a cluster. Exit code 0: valid, 1: invalid, 2: a file cannot be opened."""
    verdicts = [examine(name) for name in files]
    if as_json:
        typer.echo(json.dumps(_to_json_dict(verdicts), indent=2, ensure_ascii=False))
    else:
        _print(verdicts)
    if any(verdict.usage for verdict in verdicts):
        raise typer.Exit(2)
    if not all(verdict.valid for verdict in verdicts):
        raise typer.Exit(1)


def _print(verdicts: list[Verdict]) -> None:
    for verdict in verdicts:
        for finding in verdict.findings:
            typer.echo(finding.sentence, err=not finding.warning)
        for checked in verdict.checked:
            if not checked.ours:
                typer.echo(f"{verdict.file}: {checked.kind} {checked.name}: not ours, passed by")
            elif not checked.problems:
                typer.echo(f"{verdict.file}: {checked.kind} {checked.name}: valid")


def _to_json_dict(verdicts: list[Verdict]) -> dict[str, object]:
    findings = [finding for verdict in verdicts for finding in verdict.findings]
    return {
        "valid": all(verdict.valid for verdict in verdicts),
        "documents": [
            {
                "file": checked.document.file,
                "kind": checked.kind,
                "namespace": checked.namespace,
                "name": checked.name,
                "ours": checked.ours,
                "valid": not checked.problems,
            }
            for verdict in verdicts
            for checked in verdict.checked
        ],
        "problems": [finding.to_json_dict() for finding in findings if not finding.warning],
        "warnings": [finding.to_json_dict() for finding in findings if finding.warning],
    }
