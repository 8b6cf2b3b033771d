#!/usr/bin/env bash
# Builds the images of the Dockerfile: those named, else all.
#
#   images/build.sh [--archives DIRECTORY] [operator] [serving] [trainer] [serving-generation]
#
# Where a Docker or Podman engine answers, it builds on the official Python image. Elsewhere, on Debian as root, buildah
# builds on a base that debootstrap makes; neither needs a registry. Base and layers are kept in the user's cache, as long
# as the Dockerfile makes them. pip inside the build sees this machine's pip configuration, certificates and wheel folders:
# they are mounted, not copied, and no image holds them. With --archives each image is also saved as <target>.tar there,
# unless the one that lies there was made from the same files. BUILDER=docker, podman or buildah takes the choice away.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/open-autoglm/images"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
suite=bookworm
packages=python3,python3-venv,ca-certificates
base=localhost/autoglm-base:$suite-$(sha256sum <<<"$packages" | cut -c1-8)
archives=''
targets=()

say() { echo "images: $*" >&2; }

parse_arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --archives) archives=$(realpath -m "$2"); shift 2 ;;
      operator | serving | trainer | serving-generation) targets+=("$1"); shift ;;
      *) say "unknown argument $1; usage: images/build.sh [--archives DIRECTORY] [operator] [serving] [trainer] [serving-generation]"; exit 64 ;;
    esac
  done
  [ ${#targets[@]} -gt 0 ] || targets=(operator serving trainer serving-generation)
}

# All files that a target is made of, as one word.
inputs_of() {
  { echo "$1 $version $base"; cat Dockerfile images/install_torch.sh "requirements/$1.lock" requirements/build.lock pyproject.toml
    find api store operator trainer serving cli -name '*.py' -print0 | sort -z | xargs -0 cat; } | sha256sum | cut -c1-16
}

is_saved() { [ -n "$archives" ] && [ "$(cat "$archives/$1.inputs" 2>/dev/null)" = "$(inputs_of "$1")" ]; }

saved() { inputs_of "$1" >"$archives/$1.inputs"; }

find_engine() {
  local engine
  if [ -n "${BUILDER:-}" ]; then [ "$BUILDER" = buildah ] || echo "$BUILDER"; return; fi
  for engine in docker podman; do
    if timeout 20 "$engine" info >/dev/null 2>&1; then echo "$engine"; return; fi
  done
}

build_with_engine() { # <engine> <target>
  "$1" build --target "$2" --tag "autoglm-$2:$version" .
  say "autoglm-$2:$version: $(("$("$1" image inspect --format '{{.Size}}' "autoglm-$2:$version")" / 1000000)) MB"
  [ -z "$archives" ] || "$1" save --output "$archives/$2.tar" "autoglm-$2:$version"
}

install_tools() {
  command -v buildah debootstrap >/dev/null && return
  say "installing buildah and debootstrap"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends buildah debootstrap >&2
}

storage() { buildah --root "$cache/storage" --runroot "$cache/run" --storage-driver overlay "$@"; }

# Runs a command; shows what it said only if it fails.
logged() {
  if ! "$@" >"$cache/log" 2>&1; then tail -n 60 "$cache/log" >&2; say "failed: $1; all of its output is in $cache/log"; exit 1; fi
}

# The machine's own mirror, which may be the only one that it reaches.
mirror() {
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true; } | sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' | head -1
  sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null | head -1
}

make_base() {
  storage inspect --type image "$base" >/dev/null 2>&1 && return
  say "making a Debian base with Python (a minute)"
  local root=$cache/root container
  rm -rf "$root" && mkdir -p "$root"
  logged debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$(mirror | head -1)"
  rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/usr/share/{doc,man,locale,info}/* "$root"/var/log/*.log
  container=$(storage from scratch)
  storage add --quiet "$container" "$root" / >/dev/null
  storage config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd python3 "$container"
  storage commit --quiet --rm "$container" "$base" >/dev/null
  rm -rf "$root"
}

# A pip.conf with what pip is told on this machine, and a mount for every file and folder that it names.
pip_mounts() {
  local conf=$cache/pip.conf key value word
  { echo '[global]'
    { python3 -m pip config list 2>/dev/null || true; } | sed -n "s/^\(global\|:env:\)\.\([a-z-]*\)='\(.*\)'$/\2 = \3/p" |
      grep -E '^(index-url|extra-index-url|find-links|cert|trusted-host|timeout|retries|proxy) ' | sort -u -t= -k1,1; } >"$conf"
  echo "--volume=$conf:/etc/pip.conf:ro"
  while IFS='=' read -r key value; do
    for word in $value; do
      word=${word#file://}
      # The folder of an index is mounted with its parent, because its links climb out of it.
      case $key in *index-url*) [ -d "$word" ] && word=$(dirname "$word") ;; esac
      [ ! -e "$word" ] || echo "--volume=$word:$word:ro"
    done
  done <"$conf" | sort -u
}

# Where pip already knows a folder with a wheel of torch, that one is taken and no index of torch's own is asked.
torch_arguments() {
  local folder
  for folder in $(sed -n 's/^find-links = //p' "$cache/pip.conf"); do
    if compgen -G "${folder#file://}/torch-*+cpu-*.whl" >/dev/null; then echo --build-arg=TORCH_INDEX=; return; fi
  done
}

# What a build that was killed has left.
remove_leftovers() { storage rm --all >/dev/null; }

# Layers that no build would use again: those of no stage that has a name. It is only disk, so a failure is none.
remove_old_layers() { storage rmi --prune >/dev/null 2>&1 || true; }

build_with_buildah() { # <target>
  local mounts image=localhost/autoglm-$1:$version container stage
  mapfile -t mounts < <(pip_mounts)
  mapfile -t -O "${#mounts[@]}" mounts < <(torch_arguments)
  for stage in app "build-$1" "$1"; do
    logged storage bud --isolation chroot --network host --pull-never --layers --target "$stage" \
      --tag "localhost/autoglm-$stage:$version" --build-arg "BASE=$base" "${mounts[@]}" .
  done
  container=$(storage from --pull-never "$image")
  say "autoglm-$1:$version: $(du -sm "$(storage mount "$container")/opt" | cut -f1) MB over the base"
  storage rm "$container" >/dev/null
  if [ -n "$archives" ]; then
    rm -f "$archives/$1.tar"
    storage push --quiet "$image" "docker-archive:$archives/$1.tar:docker.io/library/autoglm-$1:$version"
  fi
}

main() {
  parse_arguments "$@"
  [ -z "$archives" ] || mkdir -p "$archives"
  mkdir -p "$cache"
  exec 9>"$cache/lock"
  flock 9 # a second caller waits for the first and finds the work done
  local engine target built=''
  engine=$(find_engine)
  for target in "${targets[@]}"; do
    if is_saved "$target"; then say "autoglm-$target:$version is saved already"; continue; fi
    say "building autoglm-$target:$version with ${engine:-buildah}"
    if [ -n "$engine" ]; then
      build_with_engine "$engine" "$target"
    elif [ "$(id -u)" = 0 ]; then
      install_tools
      [ -n "$built" ] || { remove_leftovers; make_base; }
      build_with_buildah "$target"
      built=yes
    else
      say "neither Docker nor Podman answers; building with buildah needs root"; exit 1
    fi
    [ -z "$archives" ] || saved "$target"
  done
  [ -z "$built" ] || remove_old_layers
}

main "$@"
