"""What an image name means here: an entry point on this machine instead of layers in a registry.

The project's own images run from the environment that runs the tests, everything else must be in the table. An image
that is not in the table cannot be pulled, as in a real cluster.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from e2e.cluster.environment import expand

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PYTHON_PATH = f"{Path(sys.prefix) / 'bin'}:{SYSTEM_PATH}"
ARBITRARY_UID = 100731


class ImageNotFoundError(Exception):
    """No image of this name; the message is what a registry would say."""


@dataclass(frozen=True)
class Image:
    """The part of an image's configuration that matters to a process.

    Attributes:
        entrypoint: what a container without `command` runs.
        arguments: its default arguments, dropped when the container has `command` or `args`.
        user: the UID that runs it unless the pod says otherwise.
        environment: the image's own variables.
        working_directory: where it starts.
        has_user_entry: /etc/passwd gets a line for the UID (PostgreSQL insists).
    """

    entrypoint: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    user: int = 0
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: str = "/"
    has_user_entry: bool = False

    def argv(self, container: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
        """`command` replaces entry point and arguments, `args` the arguments alone; `$(NAME)` is replaced in both."""
        command = [expand(word, environment) for word in container.get("command", [])]
        arguments = [expand(word, environment) for word in container.get("args", [])]
        if command:
            return [*command, *arguments]
        return [*self.entrypoint, *(arguments or self.arguments)]


def _project_image(program: str) -> Image:
    # Caches and HOME under /tmp, as in the Dockerfile: the root file system is read-only.
    environment = {"PATH": PYTHON_PATH, "HOME": "/tmp", "HF_HOME": "/tmp/huggingface", "PYTHONUNBUFFERED": "1"}
    return Image((program,), user=ARBITRARY_UID, environment={**environment, "OMP_NUM_THREADS": "1"})


_POSTGRES = Image(
    entrypoint=("sh", str(Path(__file__).with_name("postgres-entrypoint.sh"))),
    arguments=("postgres",),
    environment={"PATH": SYSTEM_PATH, "PGDATA": "/var/lib/postgresql/data"},
    user=999,
    has_user_entry=True,
)

_WAIT = "trap 'exit 0' TERM; while :; do sleep 0.2; done"

# The first pattern that matches the whole name wins.
TABLE: dict[str, Image] = {
    r"(.+/)?(open-)?autoglm[-/]operator([:@].+)?": _project_image("autoglm-operator"),
    r"(.+/)?(open-)?autoglm[-/]trainer([:@].+)?": _project_image("autoglm-trainer"),
    r"(.+/)?(open-)?autoglm[-/]serving([:@].+)?": _project_image("autoglm-serving"),
    r"(.+/)?python(:3[^/]*)?": Image(("python3",), environment={"PATH": PYTHON_PATH}),
    r"(.+/)?(debian|busybox)(:[^/]+)?": Image(("sh",), environment={"PATH": SYSTEM_PATH}),
    r"(.+/)?postgres(ql)?(:[^/]+)?": _POSTGRES,
    # Whatever its arguments, it waits for SIGTERM.
    r"(.+/)?idle(:[^/]+)?": Image(("sh", "-c", _WAIT), user=ARBITRARY_UID, environment={"PATH": SYSTEM_PATH}),
}


def find_image(name: str, table: Mapping[str, Image] = TABLE) -> Image:
    """Looks a name up.

    Raises:
        ImageNotFoundError: it is not in the table.
    """
    for pattern, image in table.items():
        if re.fullmatch(pattern, name):
            return image
    raise ImageNotFoundError(f'failed to resolve reference "{name}": not found')


def code_paths() -> list[Path]:
    """What must be visible in a container so that the project's entry points run: environment, interpreter, checkout.

    An environment may import from another one by its path files. A path inside another one is left out.
    """
    system = Path("/usr")
    imported = {path for path in map(Path, sys.path) if path.is_absolute() and path.is_dir()}
    wanted = {Path(sys.prefix), Path(sys.base_prefix), REPOSITORY, *imported}
    return sorted(
        path for path in wanted if not any(path.is_relative_to(other) for other in {*wanted, system} - {path})
    )
