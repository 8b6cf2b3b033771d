#!/usr/bin/env bash
# Resolves every lock. torch is pinned to the CPU build and left out: `make init` and the Dockerfile install it first.
set -euo pipefail
cd "$(dirname "$0")/.."
find_links=${FIND_LINKS:-$(.venv/bin/python -m pip config get :env:.find-links 2>/dev/null || true)}
torch=$(sed -n 's/^torch==//p' requirements/torch.txt)
constraint=$(mktemp)
trap 'rm -f "$constraint"' EXIT
echo "torch==${torch}+cpu" >"$constraint"
resolve() { # <lock> <arguments of uv pip compile…>
  local lock=$1
  shift
  .venv/bin/uv pip compile pyproject.toml "$@" --python-version 3.11 --generate-hashes --no-emit-package torch \
    --constraint "$constraint" ${find_links:+--find-links "$find_links"} --no-header --no-annotate \
    --quiet --output-file "requirements/$lock.lock"
}
resolve dev --all-extras
resolve operator --extra operator
resolve serving --extra serving
resolve serving-generation --extra serving-generation
resolve trainer --extra trainer
resolve trainer-gpu --extra trainer-gpu
.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])' |
  .venv/bin/uv pip compile - --python-version 3.11 --generate-hashes --no-header --no-annotate \
    --quiet --output-file requirements/build.lock
