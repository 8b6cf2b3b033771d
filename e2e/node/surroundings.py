"""What a node takes of this machine, and gives back: a folder, control groups, namespaces for mounts and processes.

Everything is named after our process, so that the next run knows and removes what a killed one has left.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from e2e.cluster.network import PodNamespace
from e2e.kube import wait_for
from e2e.node.images import CACHE

# Beside the images, so that the node's copy of them is made of links.
FOLDERS = CACHE / "nodes"
CONTROLLERS = Path("/sys/fs/cgroup")
PREFIX = "agl"
# Folders that programs know by heart, and that are the node's own here.
OWN_FOLDERS = (
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
)
# What a kubelet sets for the whole machine: here it writes to files of its own.
OWN_SETTINGS = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)


class Surroundings:
    """One node's part of this machine; from the start until `remove`.

    Args:
        name: as nobody else's; the control groups carry it.
        network: the network namespace that the node lives in.

    Attributes:
        directory: for all that the node writes.
        inside: the beginning of a command that shall run in the node's namespaces.
    """

    def __init__(self, name: str, network: PodNamespace) -> None:
        _remove_leftovers()
        self.name = name
        self.directory = FOLDERS / name
        self.directory.mkdir(parents=True)
        self._mount_points: list[Path] = []
        argv = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{network.name}"]
        argv += ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "sleep", "infinity"]
        # A session of its own: Ctrl-C is for us alone, who then take things down in order.
        self._anchor = subprocess.Popen(argv, start_new_session=True)
        children = Path(f"/proc/{self._anchor.pid}/task/{self._anchor.pid}/children")
        first = wait_for(lambda: next(iter(children.read_text().split()), ""))
        self.inside = ["nsenter", "--target", first, "--net", "--mount", "--pid", "--"]
        self._own_paths()
        _make_cgroups(name)

    def cgroup(self, controller: str) -> Path:
        """The node's control group of one controller."""
        return CONTROLLERS / controller / self.name

    def remove(self) -> None:
        """Ends every process of the node and takes everything away."""
        self._anchor.kill()
        self._anchor.wait()
        _remove_cgroups(self.name)
        for folder in self._mount_points:
            with suppress(OSError):  # somebody else uses it by now
                folder.rmdir()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _own_paths(self) -> None:
        for folder in map(Path, OWN_FOLDERS):
            self._mount_points += [each for each in (folder, *folder.parents) if not each.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            own = self.directory / str(folder).strip("/").replace("/", "-")
            own.mkdir()
            self._bind(own, folder)
        for setting in OWN_SETTINGS:
            source = Path("/proc/sys") / setting
            own = self.directory / setting.replace("/", "-")
            own.write_text(source.read_text())
            self._bind(own, source)

    def _bind(self, own: Path, path: Path) -> None:
        subprocess.run([*self.inside, "mount", "--bind", str(own), str(path)], check=True)


def _make_cgroups(name: str) -> None:
    for controller in CONTROLLERS.iterdir():
        if not controller.is_symlink() and (controller / "cgroup.procs").exists():
            (controller / name).mkdir(exist_ok=True)
    for setting in ("cpuset.cpus", "cpuset.mems"):
        source = CONTROLLERS / "cpuset" / setting
        if source.exists():
            (CONTROLLERS / "cpuset" / name / setting).write_text(source.read_text())


def _remove_cgroups(name: str) -> None:
    """A killed process leaves its group only when the kernel has cleared it away: some hundred milliseconds later."""

    def removed() -> bool:
        for top in CONTROLLERS.glob(f"*/{name}"):
            for folder, _, _ in os.walk(top, topdown=False):
                Path(folder).rmdir()
        return True

    wait_for(removed, 20)


def _remove_leftovers() -> None:
    """What runs have left that were killed with SIGKILL; their processes died with them."""
    names = {path.name for path in (*FOLDERS.glob(f"{PREFIX}*"), *CONTROLLERS.glob(f"*/{PREFIX}*"))}
    for name in names:
        ours = re.fullmatch(rf"{PREFIX}(\d+)", name)
        if ours and not Path(f"/proc/{ours[1]}").exists():
            shutil.rmtree(FOLDERS / name, ignore_errors=True)
            _remove_cgroups(name)
