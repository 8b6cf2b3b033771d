"""Fixtures of the real node: machine, images, and the chart as the Helm library installs it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.kube import Kube
from e2e.node.images import build_archives
from e2e.node.imagestore import stock
from e2e.node.machine import Machine, running_machine
from e2e.node.release import Release

HERE = Path(__file__).parent
VOLUMES = 40


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a real node, and so root."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.node)


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The node, with the project's images on it."""
    able = subprocess.run([str(HERE / "able.sh")], capture_output=True, text=True, check=False)
    assert able.returncode == 0, f"no real node on this machine:\n{able.stdout}{able.stderr}"
    subprocess.run([str(HERE / "packages.sh")], check=True)
    stock(build_archives())
    with running_machine(tmp_path_factory.mktemp("plane") / "plane") as machine:
        machine.make_volumes(VOLUMES)
        yield machine


@pytest.fixture(scope="session")
def kube(machine: Machine) -> Kube:
    """A client as administrator."""
    return machine.kube


@pytest.fixture(scope="session")
def release(machine: Machine) -> Iterator[Release]:
    """The chart, installed with its bundled database; the operator is ready."""
    installed = Release(machine)
    installed.install()
    yield installed
    if installed.is_installed():
        print(installed.operator_log()[-20_000:])
