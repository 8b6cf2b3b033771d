"""What can be said of the images without building them. `e2e/node` runs them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WRITTEN = (ROOT / "Dockerfile").read_text()
DEFAULTS = dict(re.findall(r"^ARG (\w+)=(.*)$", WRITTEN, re.MULTILINE))
# As it is built without arguments.
DOCKERFILE = re.sub(r"requirements/\$\{(\w+)\}", lambda name: f"requirements/{DEFAULTS[name[1]]}", WRITTEN)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
IMAGES = ("operator", "serving", "trainer", "serving-generation")


def stage(name: str) -> str:
    """The lines of one stage."""
    match = re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM |\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert match, name
    return match[1]


@pytest.mark.parametrize("image", IMAGES)
def test_entry_points_are_exec_form_and_commands_of_ours(image: str) -> None:
    entrypoint = re.search(r"^ENTRYPOINT (.+)$", stage(image), re.MULTILINE)
    assert entrypoint
    (command,) = json.loads(entrypoint[1])
    assert command in PROJECT["project"]["scripts"]
    assert f"FROM runtime AS {image}\n" in DOCKERFILE
    assert "RUN" not in stage(image), "a final stage holds nothing but what was built before"


def test_the_user_is_a_number_and_in_the_root_group() -> None:
    """`runAsNonRoot` needs a number; arbitrary UIDs come with group 0."""
    assert re.search(r"^USER [1-9]\d+:0$", stage("runtime"), re.MULTILINE)


@pytest.mark.parametrize("image", IMAGES)
def test_every_image_installs_its_lock_with_hashes(image: str) -> None:
    assert re.search(rf"--require-hashes --no-deps --requirement requirements/{image}\.lock", stage(f"build-{image}"))
    lock = (ROOT / f"requirements/{image}.lock").read_text()
    for block in re.split(r"\n(?=\S)", lock.strip()):
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize("image", ["operator", "serving"])
def test_operator_and_server_have_no_torch(image: str) -> None:
    lock = (ROOT / f"requirements/{image}.lock").read_text()
    assert not re.search(r"^(torch|transformers|nvidia-\S+)==", lock, re.MULTILINE)
    assert "ARG TORCH" not in stage(f"build-{image}")


def test_the_default_torch_is_the_locked_version_for_cpus() -> None:
    pinned = (ROOT / "requirements/torch.txt").read_text().strip()
    assert f"ARG TORCH={pinned}+cpu\n" in DOCKERFILE


def test_the_trainer_for_gpus_has_what_the_trainer_has_and_the_library_of_four_bits() -> None:
    plain, gpu = (
        set(re.findall(r"^(\S+)==", (ROOT / f"requirements/{lock}.lock").read_text(), re.MULTILINE))
        for lock in ("trainer", "trainer-gpu")
    )
    assert gpu - plain == {"bitsandbytes"}
    assert plain < gpu
    assert DEFAULTS["TRAINER"] == "trainer"
    assert "TRAINER=trainer-gpu" in WRITTEN


def test_the_context_holds_what_is_copied() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert source in allowed or re.sub(r"[^/]+\.lock$", "*.lock", source) in allowed, source


def test_every_package_is_in_the_images() -> None:
    for package in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        room = package.split("/")[0]
        assert f"COPY {room} {room}\n" in stage("app")
