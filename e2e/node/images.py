"""The images that the node runs: the project's own, PostgreSQL, and the sandbox that holds a pod's network."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "open-autoglm/images"
PROJECT = ("operator", "serving", "trainer")
POSTGRES = REPOSITORY / "e2e/node/postgres.Dockerfile"
ENTRYPOINT = REPOSITORY / "e2e/cluster/postgres-entrypoint.sh"


def build_archives() -> list[Path]:
    """Builds what changed and returns a docker-archive for each image (minutes the first time).

    Raises:
        subprocess.CalledProcessError: a build failed; its output is on the screen.
    """
    folder = CACHE / "archives"
    script = str(REPOSITORY / "images/build.sh")
    subprocess.run([script, "--archives", str(folder), *PROJECT], check=True, env={**os.environ, "BUILDER": "buildah"})
    recipe = hashlib.sha256(POSTGRES.read_bytes() + ENTRYPOINT.read_bytes()).hexdigest()[:12]
    postgres, sandbox = folder / f"postgres-{recipe}.tar", folder / "sandbox.tar"
    with locked(CACHE):
        if not postgres.exists():
            for older in folder.glob("postgres-*.tar"):
                older.unlink()
            _build_postgres(postgres)
        if not sandbox.exists():
            _build_sandbox(sandbox)
    return [*(folder / f"{name}.tar" for name in PROJECT), postgres, sandbox]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time; `images/build.sh` takes the lock of the cache too."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_postgres(archive: Path) -> None:
    options = [f"--build-arg=BASE={_base()}", "--isolation=chroot", "--network=host", "--pull-never", "--quiet"]
    _buildah("bud", *options, "--tag=autoglm-postgres:test", f"--file={POSTGRES}", str(ENTRYPOINT.parent))
    _save("localhost/autoglm-postgres:test", archive, "postgres:test")


def _build_sandbox(archive: Path) -> None:
    container = _buildah("from", "--pull-never", _base())
    _buildah("config", "--cmd", "", container)
    _buildah("config", "--entrypoint", '["sleep", "infinity"]', container)
    _buildah("commit", "--quiet", "--rm", container, "localhost/autoglm-sandbox:test")
    _save("localhost/autoglm-sandbox:test", archive, "autoglm-sandbox:test")


def _base() -> str:
    """The base that `images/build.sh` made last."""
    names = _buildah("images", "--format", "{{.Name}}:{{.Tag}}").splitlines()
    return next(name for name in names if name.startswith("localhost/autoglm-base:"))


def _save(image: str, archive: Path, name: str) -> None:
    _buildah("push", "--quiet", image, f"docker-archive:{archive}:docker.io/library/{name}")


def _buildah(*arguments: str) -> str:
    storage = ["--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"), "--storage-driver", "overlay"]
    done = subprocess.run(["buildah", *storage, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()
