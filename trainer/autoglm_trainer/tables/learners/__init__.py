"""What learns from a table's features; each ends up as nodes of the graph that is exported."""

from __future__ import annotations

from .held_out import HeldOut
from .learner import Course, Learned, Learner, Lesson, get_learner

__all__ = ["Course", "HeldOut", "Learned", "Learner", "Lesson", "get_learner"]
