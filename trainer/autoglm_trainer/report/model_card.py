"""`README.md` beside the model: what it is, how good, from what, and how to ask it."""

from __future__ import annotations

import json

import jinja2

from autoglm_api.catalog import TASKS

from .content import ReportContent
from .html import measured, number


def render_model_card(content: ReportContent) -> str:
    """The card, Markdown with the front matter that model hubs read."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("autoglm_trainer", "report"),
        autoescape=False,  # noqa: S701 - Markdown; user texts go in as code, with its delimiter taken out
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    # JSON strings are YAML strings: a label or a path cannot end the front matter.
    environment.filters |= {"number": number, "measured": measured, "code": code, "yaml": json.dumps}
    environment.filters["needs_torch"] = lambda task: TASKS[task].server_needs_torch
    return environment.get_template("model_card.md.j2").render(content=content)


def code(text: object) -> str:
    """`text` as inline code that stays on its line."""
    return "`" + " ".join(str(text).replace("`", "'").split()).replace("|", "\\|") + "`"
