# Every target does its own set-up; `make help` lists them. On a new machine the first run installs what is missing.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
ROOMS := api store operator trainer serving cli
PYTEST := $(BIN)/python -m pytest
export HF_HUB_OFFLINE := 1
export TOKENIZERS_PARALLELISM := false

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# torch comes first and alone: any other package that asks for it would pull the newest CUDA build.
$(READY): pyproject.toml requirements/dev.lock requirements/torch.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --requirement requirements/torch.txt
	$(PIP) install --no-deps --require-hashes --requirement requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(PIP) check
	touch $(READY)

.PHONY: init
init: $(READY) ## make .venv with the locked dependencies

.PHONY: system
system: ## install the system packages the tests need (Debian; asks for root only if something is missing)
	bash tests/system-packages.sh

.PHONY: demo
demo: init ## the main job on this machine: search, fine-tune, report, serve, predict
	$(BIN)/autoglm run examples/demo.yaml --serve-once

.PHONY: lint
lint: init ## formatting, style, import walls, YAML
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/yamllint --strict crds examples .github charts/autoglm/values.yaml

.PHONY: type
type: init ## mypy, strict
	$(BIN)/mypy

.PHONY: fmt
fmt: init ## format and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: unit
# One more than the cores: much of it waits for processes and servers that it has started.
unit: init system ## tier 1: no cluster
	$(PYTEST) tests --numprocesses $$(( $$(nproc) + 1 )) --dist worksteal

.PHONY: fuzz
fuzz: init ## the property tests with new and many more examples
	HYPOTHESIS_PROFILE=fuzz $(PYTEST) tests -m hypothesis

.PHONY: check
check: lint type unit ## the gate: lint, types, tier 1

.PHONY: e2e
e2e: init system ## tier 2: a genuine control plane (or the cluster of $$KUBECONFIG)
	[ -n "$${KUBECONFIG:-}" ] || bash e2e/cluster/build.sh
	$(PYTEST) e2e --ignore e2e/node

.PHONY: test
test: check e2e ## the gate and tier 2

.PHONY: e2e-node
e2e-node: init system ## tier 2 on a real node: kubelet, containerd and our own images (root)
	bash e2e/node/able.sh
	bash e2e/node/packages.sh
	bash e2e/cluster/build.sh node
	$(BIN)/python -m e2e.node
	$(PYTEST) e2e/node

.PHONY: kind-e2e
kind-e2e: init ## tier 2 on a kind cluster (needs Docker, kind and kubectl)
	bash e2e/kind/run.sh

.PHONY: images
images: init ## build all images, with or without a registry and a Docker engine
	bash images/build.sh

.PHONY: bench
bench: init system ## the benchmarks; results go to docs/benchmarks.md by hand
	$(BIN)/python -m benchmarks

.PHONY: gpu-check
gpu-check: init ## each tuning method once on this machine's GPU, and LoRA trials packed on it; minutes
	$(BIN)/python -m benchmarks.gpu_check --json gpu-check.json

.PHONY: golden
golden: init ## rewrite the golden files of manifests and chart
	UPDATE_GOLDEN=1 $(PYTEST) tests/operator tests/chart

.PHONY: reference
reference: init ## rewrite the generated tables of the docs, and the chart's copy of the CRDs
	$(BIN)/python docs/reference/generate.py

.PHONY: lock
lock: init ## resolve the locks again (FIND_LINKS: folder with the CPU wheel of torch)
	bash requirements/lock.sh

.PHONY: clean
clean: ## remove what make made in this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist
