"""Starts one container: a process in namespaces of its own that sees only what its pod mounts.

The root file system is an empty tmpfs with the system's programs bound read-only, so mount paths, UIDs,
`readOnlyRootFilesystem` and the absence of everything else are as in an image. All of it is a short shell script that
ends in `exec`: the container's command is process 1, gets our signals directly, and everything vanishes with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = """passwd group nsswitch.conf host.conf hosts resolv.conf services protocols mime.types localtime ssl \
ld.so.cache ld.so.conf ld.so.conf.d alternatives"""
# `unshare --fork` cannot tell that its child was killed; a shell can, but says "Killed" into the container's log.
_PARENT = 'exec 3>&2 2>/dev/null; setpriv --pdeathsig KILL sh "$0" 2>&3 3>&-; exit $?'
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True)
class Mount:
    """One bind mount: `source` on this machine, `target` in the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Identity:
    """Who the process is and what it may."""

    user: int
    group: int
    groups: tuple[int, ...] = ()
    drops_capabilities: bool = False
    no_new_privileges: bool = False

    def argv(self) -> list[str]:
        """A prefix that becomes this identity."""
        groups = ["--groups", ",".join(map(str, self.groups))] if self.groups else ["--clear-groups"]
        argv = ["setpriv", "--reuid", str(self.user), "--regid", str(self.group), *groups]
        if self.drops_capabilities:
            argv += ["--inh-caps=-all", "--bounding-set=-all"]
        if self.no_new_privileges:
            argv += ["--no-new-privs"]
        return argv


@dataclass(frozen=True)
class Sandbox:
    """Everything a container's process needs to start."""

    hostname: str
    network_namespace: str
    root: Path
    mounts: Sequence[Mount]
    code: Sequence[Path]
    identity: Identity
    environment: Mapping[str, str]
    working_directory: str
    argv: Sequence[str]
    read_only_root: bool = False
    has_user_entry: bool = False

    def outer_argv(self, script: Path) -> list[str]:
        """The command that runs `script`; its only child is process 1 of the container and dies with it.

        Its exit code is the container's, 128 + n after signal n.
        """
        enter = ["setpriv", "--pdeathsig", "KILL", "nsenter", f"--net=/run/netns/{self.network_namespace}"]
        return [*enter, "unshare", "--mount", "--uts", "--ipc", "--pid", "sh", "-c", _PARENT, str(script)]

    def command_argv(self, argv: Sequence[str]) -> list[str]:
        """`argv` as the container's user with the container's environment, and nothing of ours."""
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        place = ["env", "-i", f"--chdir={self.working_directory}", *variables]
        return [*self.identity.argv(), "--", *place, *argv]

    def exec_argv(self, process: int, argv: Sequence[str]) -> list[str]:
        """The command that runs `argv` beside the process 1 whose number on this machine is `process`."""
        enter = ["nsenter", f"--target={process}", "--mount", "--uts", "--ipc", "--pid", "--net"]
        return [*enter, *self.command_argv(argv)]

    def script(self) -> str:
        """The shell script that builds the file system and becomes the command."""
        lines = ["set -eu", f"r={shlex.quote(str(self.root))}", f"hostname {shlex.quote(self.hostname)}", _ROOT]
        lines += [_bind_system(Path(path)) for path in _SYSTEM if Path(path).exists()]
        if self.has_user_entry:
            lines.append(f'echo "user:x:{self.identity.user}:{self.identity.group}::/tmp:/bin/sh" >>"$r/etc/passwd"')
        lines += [f'touch "$r/dev/{name}"; mount --bind /dev/{name} "$r/dev/{name}"' for name in _DEVICES]
        lines += [_bind(mount) for mount in sorted(self.mounts, key=lambda mount: len(Path(mount.target).parts))]
        lines += [_bind(Mount(path, str(path), read_only=True)) for path in self.code]
        if self.read_only_root:
            lines.append('mount -o remount,ro "$r"')
        lines += ['cd "$r"', "pivot_root . .", "umount -l .", "cd /"]
        return "\n".join([*lines, f"exec {shlex.join(self.command_argv(self.argv))}", ""])


_ROOT = f"""\
mount -t tmpfs -o mode=755 tmpfs "$r"
mkdir -p "$r/proc" "$r/sys" "$r/dev" "$r/etc" "$r/run" "$r/var" "$r/tmp" "$r/var/tmp" "$r/home" "$r/root"
chmod 1777 "$r/tmp" "$r/var/tmp"; ln -s ../run "$r/var/run"
mount -t proc proc "$r/proc"
mount --bind /sys "$r/sys"; mount -o remount,bind,ro "$r/sys"
cd /etc; for f in {_ETC}; do [ ! -e $f ] || cp -a $f "$r/etc/"; done
mount -t tmpfs -o mode=755 tmpfs "$r/dev"
mkdir "$r/dev/shm"; mount -t tmpfs -o mode=1777,size=64m tmpfs "$r/dev/shm"
ln -s /proc/self/fd "$r/dev/fd"; ln -s fd/0 "$r/dev/stdin"; ln -s fd/1 "$r/dev/stdout"; ln -s fd/2 "$r/dev/stderr\""""


def _bind_system(path: Path) -> str:
    if path.is_symlink():
        return f'ln -s {shlex.quote(str(path.readlink()))} "$r{path}"'
    return _bind(Mount(path, str(path), read_only=True))


def _bind(mount: Mount) -> str:
    source, target = shlex.quote(str(mount.source)), f'"$r"{shlex.quote(mount.target)}'
    if mount.source.is_dir():
        make = f"mkdir -p {target}"
    else:
        parent = shlex.quote(str(Path(mount.target).parent))
        make = f'mkdir -p "$r"{parent}; [ -e {target} ] || touch {target}'
    bind = f"{make}; mount --bind {source} {target}"
    return f"{bind}; mount -o remount,bind,ro {target}" if mount.read_only else bind
