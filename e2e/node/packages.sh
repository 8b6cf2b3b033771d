#!/usr/bin/env bash
# Installs what a real node needs from Debian's packages, and only what is missing. Needs root.
set -euo pipefail
missing=()
command -v containerd >/dev/null || missing+=(containerd)
command -v runc >/dev/null || missing+=(runc)
command -v iptables >/dev/null || missing+=(iptables)
command -v buildah >/dev/null || missing+=(buildah)
command -v debootstrap >/dev/null || missing+=(debootstrap)
[ -x /usr/lib/cni/ptp ] || missing+=(containernetworking-plugins)
[ ${#missing[@]} -eq 0 ] && exit 0
apt-get update -qq
# Debian starts a service as it is installed; this one runs only inside the tests.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
trap 'rm -f /usr/sbin/policy-rc.d' EXIT
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
