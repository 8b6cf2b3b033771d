"""The tasks as declarations: columns, metrics, default space, good first points. Checked at the door, without torch."""

from __future__ import annotations

from autoglm_api.plugins import installed

from .auto import AUTO, choose_task, recognised_roles
from .declaration import Column, Direction, TaskDeclaration
from .image_classification import IMAGE_CLASSIFICATION
from .knobs import Knob
from .methods import METHODS, MethodDeclaration
from .node_classification import NODE_CLASSIFICATION
from .prompt_optimization import PROMPT_OPTIMIZATION
from .question_answering import QUESTION_ANSWERING
from .tabular import TABULAR_CLASSIFICATION, TABULAR_REGRESSION
from .text_classification import TEXT_CLASSIFICATION
from .text_generation import TEXT_GENERATION
from .token_classification import TOKEN_CLASSIFICATION

__all__ = [
    "AUTO",
    "METHODS",
    "TASKS",
    "UNUSABLE_TASKS",
    "Column",
    "Direction",
    "Knob",
    "MethodDeclaration",
    "TaskDeclaration",
    "choose_task",
    "find_task",
    "recognised_roles",
]

TASKS, UNUSABLE_TASKS = installed(
    "autoglm.tasks",
    TaskDeclaration,
    {
        task.name: task
        for task in (
            TEXT_CLASSIFICATION,
            TOKEN_CLASSIFICATION,
            QUESTION_ANSWERING,
            TEXT_GENERATION,
            TABULAR_CLASSIFICATION,
            TABULAR_REGRESSION,
            NODE_CLASSIFICATION,
            IMAGE_CLASSIFICATION,
            PROMPT_OPTIMIZATION,
        )
    },
)


def find_task(name: str) -> TaskDeclaration:
    """The task called `name`.

    Raises:
        ValueError: there is none, or its plug-in cannot be used.
    """
    if name in UNUSABLE_TASKS:
        raise ValueError(f"task: {UNUSABLE_TASKS[name]}")
    if name not in TASKS:
        raise ValueError(f"task: unknown task {name!r}; known: {', '.join(sorted(TASKS))}")
    return TASKS[name]
