# Two commands do all the set-up: `make repro` and `make test`. `make help` lists the rest.
PYTHON ?= python3
RUN := .venv/.ready
DEV := .venv/.ready-dev
LITERT := .venv/litert/.ready
COMPILE := .venv/lock/bin/uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header --python-version 3.11

export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONUNBUFFERED := 1
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export NO_ALBUMENTATIONS_UPDATE := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help repro test lint types bench ui verify clean preset litert lock locks container

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1#/p' $(MAKEFILE_LIST) | column -t -s '#'

# What a lock names is installed as it says. The one package that comes as source is built with the locked setuptools.
define install
	@sed -n 's/^\(setuptools==[^ ]*\).*/\1/p' $(1) > .venv/build.txt
	PIP_CONSTRAINT=.venv/build.txt PIP_BUILD_CONSTRAINT=.venv/build.txt $(or $(2),.venv/bin/python) -m pip install --require-hashes -r $(1)
endef

$(RUN): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' || { \
	  echo "Meltpoint needs Python 3.11 to 3.14, and $(PYTHON) is $$($(PYTHON) --version). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Installing what running needs into .venv, once: about 3 minutes on a quiet machine, 7 GB of disk"
	$(PYTHON) -m venv .venv
	$(call install,requirements.lock)
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(DEV): requirements-dev.lock $(RUN)
	@echo "Installing what tests, style and types need besides, once: about a minute, 0.3 GB of disk"
	$(call install,requirements-dev.lock)
	@touch $@

repro: $(RUN)  ## run what has changed, from download to champion, and print the decision
	@meltpoint plan
	dvc repro
	@meltpoint status

test: $(DEV)  ## run all tests
	pytest

lint: $(DEV)  ## check style and formatting
	ruff check .
	ruff format --check .

types: $(DEV)  ## check types, strictly
	mypy

bench: $(DEV)  ## measure the speeds that the docs quote, side by side
	python benchmarks/run.py

ui: $(RUN)  ## open the MLflow UI on mlruns/, on this machine only
	meltpoint ui

verify: $(RUN)  ## run everything twice on a tiny dataset: the same dvc.lock, to the byte
	meltpoint repeat

preset: $(RUN)  ## put presets/NAME.yaml in place: make preset NAME=elpv
	meltpoint preset $(NAME)

$(LITERT): requirements-litert.lock $(DEV)
	@echo "Installing what writes LiteRT files into .venv/litert, once: about 3 minutes on a quiet machine, 7 GB of disk"
	$(PYTHON) -m venv .venv/litert
	$(call install,requirements-litert.lock,.venv/litert/bin/python)
	@touch $@

litert: $(LITERT)  ## install the converter of exports for telephones, in an environment of its own

clean:  ## remove what the pipeline made, but neither DVC's cache nor mlruns/
	rm -rf data/raw data/views data/features data/splits data/samples.csv data/classes.json data/names.json data/palettes.json data/depths.json data/fingerprint.json data/encoders models repeats exports reports .checkpoints
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage htmlcov

lock:  ## write the locks anew from pyproject.toml; what they pin stays, unless that asks for something else
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip install --quiet uv==0.13.9
	$(COMPILE) --extra install --extra heif --extra dicom --extra server --extra words --extra dinov2 --extra qat --extra litert --extra executorch --extra openvino --extra app --extra mcp --extra ray --extra s3 --extra load --extra dev pyproject.toml -o requirements-dev.lock
	$(COMPILE) --extra install --constraint requirements-dev.lock pyproject.toml -o requirements.lock
	$(COMPILE) requirements-litert.in -o requirements-litert.lock
	.venv/lock/bin/python .ci/extras.py requirements.lock requirements-dev.lock requirements-litert.lock

locks: $(DEV)  ## check that the locks install with the oldest pip, while newer releases of everything are out
	python .ci/locks.py

container: $(DEV)  ## run the steps of a Dockerfile in a bare Debian, as root and without Docker: make container CONTEXT=box PICTURE=photo.png
	python .ci/container.py $(CONTEXT) $(PICTURE) $(WORDS)
