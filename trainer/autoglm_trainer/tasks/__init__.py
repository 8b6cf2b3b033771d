"""The tasks, by name; declared in `autoglm_api.catalog`. A task is a file or two that meet `contract.Task`."""

from __future__ import annotations

from autoglm_api.catalog import find_task
from autoglm_api.plugins import resolve
from autoglm_trainer.contract import Task
from autoglm_trainer.errors import SpecError


def get_task(name: str) -> Task:
    """The task called `name`.

    Raises:
        SpecError: there is none, or its code cannot be imported.
    """
    try:
        task: Task = resolve(find_task(name).trainer)()
    except ValueError as error:
        raise SpecError(str(error)) from error
    except ImportError as error:
        raise SpecError(f"task: {error}") from error
    return task
