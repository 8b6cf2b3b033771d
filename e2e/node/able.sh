#!/usr/bin/env bash
# Says why a real node cannot run on this machine, a reason a line, and then fails; says nothing where it can.
set -uo pipefail

reasons=()
works() { "$@" >/dev/null 2>&1; }

[ "$(id -u)" = 0 ] || reasons+=('a kubelet needs root')
works grep -q '^VERSION_CODENAME=bookworm$' /etc/os-release ||
  reasons+=('its programs are those of Debian bookworm, which this is not')
missing=()
for controller in blkio cpu cpuacct cpuset devices freezer memory pids; do
  procs=/sys/fs/cgroup/$controller/cgroup.procs
  { [ -e "$procs" ] && { [ "$(id -u)" != 0 ] || [ -w "$procs" ]; }; } || missing+=("$controller")
done
[ ${#missing[@]} -eq 0 ] ||
  reasons+=("no writable control groups of version 1, which its kubelet manages, below /sys/fs/cgroup: ${missing[*]}")
if [ "$(id -u)" = 0 ]; then
  works unshare --net --mount --pid --fork --mount-proc true || reasons+=('the kernel refuses new namespaces (unshare)')
  folder=$(mktemp -d -p "${XDG_CACHE_HOME:-$HOME/.cache}" 2>/dev/null || mktemp -d)
  mkdir "$folder"/{lower,upper,work,merged}
  works unshare --mount mount -t overlay overlay \
    -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/merged" ||
    reasons+=("the kernel mounts no overlay in ${folder%/*}")
  rm -rf "$folder"
  ! command -v iptables >/dev/null || works unshare --net iptables -t nat -nL ||
    reasons+=('the kernel has no iptables table nat')
fi
[ ${#reasons[@]} -eq 0 ] || { printf '%s\n' "${reasons[@]}"; exit 1; }
