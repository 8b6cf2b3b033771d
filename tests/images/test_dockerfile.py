"""What can be said of the images without building them. `e2e/node` runs them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
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


def test_every_final_stage_is_an_image_that_is_built_unless_others_are_named() -> None:
    final = re.findall(r"^FROM runtime AS (\S+)$", DOCKERFILE, re.MULTILINE)
    default = re.search(r"\|\| targets=\((.+)\)$", (ROOT / "images/build.sh").read_text(), re.MULTILINE)
    assert default
    assert sorted(default[1].split()) == sorted(final) == sorted(IMAGES)


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


def test_the_server_keeps_of_botocore_what_credentials_and_buckets_need() -> None:
    """What is removed when the image is built, applied to the names that the installed release has."""
    kept = [name.strip("'") for name in re.findall(r"! -name (\S+)", stage("build-serving"))]
    data = Path(str(files("botocore"))) / "data"
    found = {each.name for each in data.iterdir() if each.is_dir() and any(fnmatch(each.name, name) for name in kept)}
    assert {"s3", "sts", "sso", "sso-oidc"} <= found
    assert len(found) < 10


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


def test_boosting_runs_on_the_openmp_of_pytorch_for_the_base_has_none() -> None:
    """The slim base has no libgomp1; LightGBM takes the one that is loaded already, so PyTorch must come first."""
    program = "import autoglm_trainer.tables.learners.boosting, lightgbm; print(open('/proc/self/maps').read())"
    maps = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = {line.split()[-1] for line in maps.splitlines() if "libgomp" in line}
    assert any("/torch/lib/" in path for path in loaded)
    assert not [path for path in loaded if "site-packages" not in path]
