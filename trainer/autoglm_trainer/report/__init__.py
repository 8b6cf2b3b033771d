"""The report of a finished study: one HTML file that needs nothing else, and the model card beside it."""

from __future__ import annotations

from .comparison import COMPARISON, render_comparison
from .content import Contender, Cost, ReportContent
from .html import render_report
from .model_card import render_model_card

__all__ = [
    "COMPARISON",
    "Contender",
    "Cost",
    "ReportContent",
    "render_comparison",
    "render_model_card",
    "render_report",
]
