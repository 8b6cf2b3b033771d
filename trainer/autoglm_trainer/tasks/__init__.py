"""The tasks, by name. A task is one file that meets `contract.Task`."""

from __future__ import annotations

from collections.abc import Mapping

from autoglm_trainer.contract import Task
from autoglm_trainer.errors import SpecError

from .text_classification import TextClassification

TASKS: Mapping[str, Task] = {TextClassification.name: TextClassification()}


def get_task(name: str) -> Task:
    """The task called `name`.

    Raises:
        SpecError: there is none.
    """
    if name not in TASKS:
        raise SpecError(f"task: unknown task {name!r}; known: {', '.join(sorted(TASKS))}")
    return TASKS[name]
