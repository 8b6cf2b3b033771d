"""Images as containerd holds them, imported once and kept: unpacking gigabytes for every run takes minutes.

A node gets a copy made of hard links: nothing is written twice, and what it adds or changes stays its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster.controlplane import Server
from e2e.kube import wait_for
from e2e.node.images import CACHE, locked

KEPT = CACHE / "containerd"
NAMESPACE = "k8s.io"
SANDBOX = "docker.io/library/autoglm-sandbox:test"


def stock(archives: list[Path]) -> None:
    """Imports the archives that are not in the kept store, or not as they are now.

    Raises:
        RuntimeError: containerd refused one; the message is what it said.
    """
    KEPT.mkdir(parents=True, exist_ok=True)
    imported = KEPT / "imported.json"
    with locked(KEPT):
        known = json.loads(imported.read_text()) if imported.exists() else {}
        wanted = {archive.name: archive.stat().st_mtime_ns for archive in archives}
        changed = [archive for archive in archives if known.get(archive.name) != wanted[archive.name]]
        if changed:
            with _running(KEPT / "root") as socket:
                for archive in changed:
                    _import(socket, archive)
            imported.write_text(json.dumps(wanted))


def copy_store(target: Path) -> None:
    """Makes `target`, on the same file system, the root of a containerd that holds what `stock` has imported."""
    with locked(KEPT):
        subprocess.run(["cp", "--archive", "--link", str(KEPT / "root"), str(target)], check=True)
        for database in target.rglob("*.db"):  # these are written in place
            original = KEPT / "root" / database.relative_to(target)
            database.unlink()
            shutil.copy2(original, database)


def write_configuration(path: Path, *, root: Path, state: Path, socket: Path, networks: Path) -> None:
    """Writes what containerd reads: folders, and what this kind of machine cannot do.

    Args:
        root: images and containers.
        state: what lives as long as the process.
        socket: where it answers.
        networks: the folder of the CNI configuration.
    """
    path.write_text(
        f"""
version = 2
root = "{root}"
state = "{state}"
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{state}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{SANDBOX}"
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/usr/lib/cni"
conf_dir = "{networks}"
"""
    )


def answers(socket: Path) -> bool:
    """Whether a containerd answers there."""
    return subprocess.run(_ctr(socket, "version"), capture_output=True, check=False).returncode == 0


def _ctr(socket: Path, *arguments: str) -> list[str]:
    return ["ctr", "--address", str(socket), "--namespace", NAMESPACE, *arguments]


def _import(socket: Path, archive: Path) -> None:
    done = subprocess.run(_ctr(socket, "images", "import", str(archive)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{archive}: {done.stderr.strip()}")


@contextmanager
def _running(root: Path) -> Iterator[Path]:
    """A containerd of nobody's, with mounts of its own; yields its socket."""
    with tempfile.TemporaryDirectory(prefix="agl-images-", ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        configuration, socket = folder / "containerd.toml", folder / "containerd.sock"
        write_configuration(configuration, root=root, state=folder / "state", socket=socket, networks=folder)
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        server = Server("containerd", [*argv, "containerd", "--config", str(configuration)], folder / "log")
        server.start()
        try:
            wait_for(lambda: answers(socket), 60, state=server.tail)
            yield socket
        finally:
            server.kill()
