# All targets need Python 3.11 or later with pip; everything else is downloaded into .venv and a cache.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DIST := dist

.DEFAULT_GOAL := help
.PHONY: help dev demo test verify lint format types contracts generate check-generated package lock bench clean

help: ## Show all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/ready: tests/requirements.txt pyproject.toml
	@echo "==> Creating $(VENV) from tests/requirements.txt (takes a minute or less)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

dev: $(VENV)/ready ## Start a local cluster, Valkey and rollonce; Ctrl-C stops them
	$(BIN)/python -m tests.dev up

demo: $(VENV)/ready ## Start the same, run the commands of the README, and stop
	$(BIN)/python -m tests.dev demo

test: $(VENV)/ready ## Run all tests
	$(BIN)/python -m tests.controlplane build
	$(BIN)/python -m pytest

verify: $(VENV)/ready ## Run the long forms of the tests of deduplication: 20,000 histories, and the whole exploration
	ROLLONCE_TEST_HISTORIES=5000 ROLLONCE_TEST_EXPLORATION=full $(BIN)/python -m pytest -s \
		tests/webhook/dedupe/test_model.py tests/webhook/dedupe/test_exploration.py

lint: $(VENV)/ready ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/ready ## Fix style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/ready ## Check types
	$(BIN)/mypy

contracts: $(VENV)/ready ## Check imports between modules, and that exactly the imported packages are declared
	$(BIN)/lint-imports
	$(BIN)/deptry .

generate: $(VENV)/ready ## Write the files that are generated from the code
	$(BIN)/python -m tests.generate

check-generated: $(VENV)/ready ## Fail if a generated file is out of date
	$(BIN)/python -m tests.generate --check

package: $(VENV)/ready ## Package the Helm chart into dist/
	$(BIN)/python -m tests.generate --check
	$(BIN)/python -m tests.chart.package $(DIST)

lock: $(VENV)/ready ## Pin the newest allowed versions of all dependencies
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
		--upgrade --output-file deploy/requirements.txt
	$(BIN)/uv pip compile --quiet pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
		--upgrade --group dev --output-file tests/requirements.txt

bench: $(VENV)/ready ## Run the benchmarks and print their results
	$(BIN)/python -m tests.bench

clean: ## Remove all build results except the cache of the control plane
	rm -rf $(VENV) build dist .dev .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
