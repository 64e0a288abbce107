# Two commands do all the set-up: `make repro` and `make test`. `make help` lists the rest.
PYTHON ?= python3
BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready
COMPILE := uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11

export PATH := $(BIN):$(PATH)
export PYTHONUNBUFFERED := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export NO_ALBUMENTATIONS_UPDATE := 1

.DEFAULT_GOAL := help
.PHONY: help repro test lint types bench ui verify clean preset lock

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' $(MAKEFILE_LIST) | column -t -s '#'

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Meltpoint needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Making .venv: a few minutes and about 6 GB, once"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

repro: $(READY)  ## run what has changed, from download to champion, and print the decision
	dvc repro
	@meltpoint status

test: $(READY)  ## run all tests
	pytest

lint: $(READY)  ## check style and formatting
	ruff check .
	ruff format --check .

types: $(READY)  ## check types, strictly
	mypy

bench: $(READY)  ## measure the speeds that the docs quote, side by side
	python benchmarks/run.py

ui: $(READY)  ## open the MLflow UI on mlruns/, on this machine only
	meltpoint ui

verify: $(READY)  ## run everything twice on a tiny dataset: the same dvc.lock, to the byte
	meltpoint repeat

preset: $(READY)  ## put presets/NAME.yaml in place: make preset NAME=elpv
	meltpoint preset $(NAME)

clean:  ## remove what the pipeline made, but neither DVC's cache nor mlruns/
	rm -rf data/raw data/views data/features data/splits data/samples.csv data/classes.json data/names.json data/palettes.json models repeats reports .checkpoints
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov

lock: $(READY)  ## write both locks anew from pyproject.toml; extras stay, or the pip of Python 3.11 refuses them one day
	python -m pip install --quiet uv==0.13.9
	$(COMPILE) --extra install --extra dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --extra install --constraint requirements-dev.lock pyproject.toml -o requirements.lock
