"""`task: auto`: the task is read off the roles that the study names and the metrics that it asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .declaration import TaskDeclaration

AUTO = "auto"


def choose_task(
    tasks: Mapping[str, TaskDeclaration],
    roles: Collection[str],
    metrics: Collection[str],
    sources: Collection[str] = (),
    *,
    wide: bool = False,
) -> tuple[TaskDeclaration, str]:
    """The first task, in the order of `tasks`, that has all roles and metrics.

    A task that learns from any number of columns is asked with them, not with a role; it is chosen where the study
    chooses among columns, or where no other task knows the roles and metrics.

    Args:
        tasks: what can be chosen.
        roles: keys of `data.columns`; one at least must be what a prediction is asked with.
        metrics: of the objectives and constraints.
        sources: what `data` names besides rows; a task must read exactly these, and needs no role then.
        wide: whether `data.features` or `data.ignore` choose among the columns.

    Returns:
        the task, and why it is this one, as a sentence's end.

    Raises:
        ValueError: no role is named, or none of the tasks has them all with these metrics.
    """
    known = ", ".join(tasks)
    if not roles and not sources and not wide:
        raise ValueError(
            "task: auto chooses by data.columns, which names nothing: say which columns play which role "
            f"(data.columns: {{text: review, label: stars}}), or name a task: {known}"
        )
    named = [f"data.columns names {_listed(roles)}"] if roles else []
    named += [f"data names {_listed(sources)}"] if sources else []
    named += ["data chooses among the columns"] if wide else []
    told = f"{', '.join(named)} and the study asks for {_listed(metrics)}"
    reading = [task for task in tasks.values() if set(task.sources) == set(sources) and (task.wide or not wide)]
    knowing = [task for task in reading if _knows(task, roles, metrics)]
    fitting = [task for task in knowing if task.sources or any(role in task.asked for role in roles)]
    if not fitting and all(task.wide for task in knowing):
        fitting = knowing
    if not fitting:
        raise ValueError(f"task: auto finds no task: {told}, and no task has all of these; name one: {known}")
    others = f"; {_listed([task.name for task in fitting[1:]])} would fit, too" if fitting[1:] else ""
    return fitting[0], f"{told}{others}"


def recognised_roles(tasks: Mapping[str, TaskDeclaration], header: Collection[str]) -> dict[str, str]:
    """Role → column for the task of whose default columns `header` has most; empty where no task's are there.

    A task counts if everything is there that a prediction is asked with, and something that is answered, unless it
    reads more than rows; a table needs columns beside its answer.
    """
    best: dict[str, str] = {}
    for task in (task for task in tasks.values() if not task.sources):
        found = {role: column.default for role, column in task.columns.items() if column.default in header}
        asked = all(role in found for role in task.asked)
        answered = any(column.answer for role, column in task.columns.items() if role in found)
        if asked and answered and len(found) > len(best) and (len(header) > len(found) or not task.wide):
            best = found
    return best


def _knows(task: TaskDeclaration, roles: Collection[str], metrics: Collection[str]) -> bool:
    return all(role in task.columns for role in roles) and all(metric in task.metrics for metric in metrics)


def _listed(names: Collection[str]) -> str:
    *most, last = dict.fromkeys(names)
    return f"{', '.join(most)} and {last}" if most else last
