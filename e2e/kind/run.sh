#!/usr/bin/env bash
# Runs the e2e suite on a kind cluster: creates it, builds and loads the images, runs `make e2e`, deletes it again.
#
#   e2e/kind/run.sh
#
# KEEP=1 leaves the cluster for a look (`kind delete cluster --name autoglm-e2e` removes it). KIND_IMAGE chooses the
# Kubernetes version, as in KIND_IMAGE=kindest/node:v1.34.0.
set -euo pipefail
cd "$(dirname "$0")/../.."

cluster=autoglm-e2e
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
# Images of the tests' own pods; loading them once spares the node a pull each.
public=(python:3.11 debian:12 busybox:latest postgres:15)

say() { echo "kind-e2e: $*" >&2; }

check_tools() {
  local tool missing=()
  for tool in docker kind kubectl; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    say "not found: ${missing[*]}. This target needs Docker, kind and kubectl; without them, \`make e2e\` runs the same"
    say "suite on a control plane built from Debian's packages, and \`make e2e-node\` on a real node."
    exit 69
  fi
  if ! docker info >/dev/null 2>&1; then
    say "the Docker daemon does not answer: start it, or let this user use it"
    exit 69
  fi
  if kind get clusters 2>/dev/null | grep -qx "$cluster"; then
    say "a cluster $cluster is there already: kind delete cluster --name $cluster"
    exit 73
  fi
}

# Deletes only what this run has made.
clean_up() {
  if [ -n "${KEEP:-}" ]; then say "kept: export KUBECONFIG=$KUBECONFIG"; return; fi
  kind delete cluster --name "$cluster" || true
  rm -rf "$folder"
}

create_cluster() {
  folder=$(mktemp -d)
  export KUBECONFIG=$folder/kubeconfig
  trap clean_up EXIT
  kind create cluster --name "$cluster" --config e2e/kind/config.yaml --wait 120s ${KIND_IMAGE:+--image "$KIND_IMAGE"}
}

build_images() {
  BUILDER=docker images/build.sh serving trainer
  docker tag "autoglm-serving:$version" autoglm-serving:test
  docker build --tag autoglm-trainer:test --target trainer --build-arg "TRAINER=autoglm-trainer:$version" \
    --file e2e/kind/images.Dockerfile e2e/kind
  docker build --tag idle:1 --target idle --build-arg "TRAINER=autoglm-trainer:$version" \
    --file e2e/kind/images.Dockerfile e2e/kind
}

load_images() {
  local image
  for image in "${public[@]}"; do docker pull --quiet "$image"; done
  kind load docker-image --name "$cluster" autoglm-trainer:test autoglm-serving:test idle:1 "${public[@]}"
}

# PostgreSQL and the S3 server of the tests run on this machine; pods reach them at the gateway of kind's network.
host_address() {
  docker network inspect kind --format '{{range .IPAM.Config}}{{println .Gateway}}{{end}}' | grep -m 1 -F .
}

check_tools
create_cluster
build_images
load_images
E2E_HOST_ADDRESS=$(host_address) make e2e
