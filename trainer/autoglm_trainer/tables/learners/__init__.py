"""What learns from a table's features; each ends up as nodes of the graph that is exported."""

from __future__ import annotations

from autoglm_api.catalog.tabular import LEARNERS
from autoglm_api.plugins import resolve

from .learner import Course, Learned, Learner, Lesson

__all__ = ["Course", "Learned", "Learner", "Lesson", "get_learner"]


def get_learner(name: str) -> Learner:
    """The learner called `name`, one that the catalog declares."""
    learner: Learner = resolve(LEARNERS[name].trainer)()
    return learner
