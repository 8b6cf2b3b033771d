"""Small GLMs that write, for cases without a pretrained model: one as configured, and one that a study taught."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

from benchmarks.studies import create, journal_url
from benchmarks.workers import REPOSITORY, WORKER, environment, export, finish, run_worker

# The rows of a classification as prompts and answers.
COLUMNS = (("prompt", "text"), ("answer", "label"))
_SCRIPT = REPOSITORY / "examples" / "make_tiny_glm.py"
_POINT = {"method": "full", "learning_rate": 2e-3, "epochs": 4, "max_new_tokens": 4}


def untaught(data: Mapping[str, str], folder: Path) -> str:
    """Write a GLM of two layers with random weights, whose tokens are the training rows' words.

    Args:
        data: field of `data` → URI of a file of this machine.
        folder: for the model; created.

    Returns:
        the model's URI.
    """
    folder.mkdir(parents=True)
    rows = unquote(urlsplit(data["train"]).path)
    columns = [word for _, name in COLUMNS for word in ("--column", name)]
    command = (str(_SCRIPT), rows, str(folder / "model"), *columns, "--words", "--writes")
    finish(command, folder / "log", environment(folder))
    return (folder / "model").as_uri()


def taught(data: Mapping[str, str], folder: Path) -> str:
    """Have a study of one trial teach that GLM to answer each training text with its label; its export's URI."""
    spec = {
        "task": "text-generation",
        "model": {"source": untaught(data, folder / "untaught")},
        "data": {**{field: {"source": uri} for field, uri in data.items()}, "columns": dict(COLUMNS)},
        "objectives": [{"metric": "exact_match", "direction": "Maximize"}],
        "parameters": [{"name": name, "categorical": {"choices": [value]}} for name, value in _POINT.items()],
        "trials": {"max": 1},
    }
    study = create(spec, journal_url(folder / "journal.log"), name="taught", artifacts=folder / "artifacts")
    run_worker(study, folder / "worker", program=WORKER, extra={})
    return export(study, folder).as_uri()
