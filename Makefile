# make setup   .venv with everything the tests and the demo need; nothing is compiled
# make test    setup, then ruff, mypy and the whole test-suite
# make demo    setup, then train and test a small Video Swin on generated clips
# make lint    setup, then ruff and mypy alone
# make clean   remove .venv, caches and work_dirs/demo
#
# PYTHON names the interpreter that .venv is made with, JOBS the test processes. pip's own settings (PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ...) are respected; docs/install.md says how to choose a build of torch.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --prefer-binary
STAMP := $(VENV)/.up-to-date

SHELL := bash
.SHELLFLAGS := -o pipefail -c
.PHONY: setup test demo lint clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt build_mim.py Makefile
	@command -v $(PYTHON) >/dev/null || { \
		echo "vidtx_mm: '$(PYTHON)' is not on the PATH. Install Python 3.10, 3.11 or 3.12, or name yours:" \
		"make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || { \
		echo "vidtx_mm: needs Python 3.10, 3.11 or 3.12, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
		"Name another: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "vidtx_mm: '$(PYTHON)' lacks the modules venv and ensurepip. On Debian or Ubuntu:" \
		"apt-get install python3-venv" >&2; exit 1; }
	@echo "[1/4] $(VENV), with $$($(PYTHON) --version)"
	@[ "$$($(BIN)/python --version 2>&1)" = "$$($(PYTHON) --version)" ] || $(PYTHON) -m venv --clear $(VENV)
	@echo "[2/4] setuptools"
	@$(PIP) -q -c constraints.txt setuptools
	@echo "[3/4] torch, the largest download"
	@$(PIP) -c constraints.txt torch
	@echo "[4/4] MMAction2, mmcv-lite, test tools and vidtx_mm itself (about 60 packages, a minute or more)"
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[recognition,dev]' \
		| grep --line-buffered -E '^(Collecting|Processing|Building|Installing)'
	@touch $@
	@echo "set up: source $(BIN)/activate"

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy vidtx_mm/layers vidtx_mm/weights

# One thread per process: the processes, not torch's threads, share the cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

demo: setup
	$(BIN)/python tools/demo.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache work_dirs/demo
