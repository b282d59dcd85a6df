# make setup        create .venv for recognition, its tests and the demo; compiles nothing
# make setup-dense  create .venv-dense with mmdet, mmpose, mmsegmentation, mmpretrain and the operators of mmcv, which
#                   are compiled if no wheel fits
# make test         both, then ruff, mypy and all tests
# make test-dense   tests of detection, pose, segmentation and ImageNet
# make demo         setup, then train and test a small Video Swin on generated clips
# make lint         setup, then ruff and mypy
# make clean        remove the environments, caches and work_dirs/demo
#
# PYTHON is the interpreter of the environments, JOBS the number of test processes. pip uses its own settings
# (PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, ...). To choose a build of torch, see docs/install.md.

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --prefer-binary
STAMP := $(VENV)/.up-to-date
DENSE := .venv-dense
DENSE_PIP := $(DENSE)/bin/python -m pip install --disable-pip-version-check --prefer-binary
DENSE_STAMP := $(DENSE)/.up-to-date

SHELL := bash
.SHELLFLAGS := -o pipefail -c
.PHONY: setup setup-dense test test-recognition test-dense demo lint clean
.DEFAULT_GOAL := setup

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt build_mim.py Makefile
	@command -v $(PYTHON) >/dev/null || { \
		echo "vidtx_mm: '$(PYTHON)' is not on the PATH. Install Python 3.10, 3.11 or 3.12, or set its path:" \
		"make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null || { \
		echo "vidtx_mm: needs Python 3.10, 3.11 or 3.12, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
		"Use another: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "vidtx_mm: '$(PYTHON)' lacks the modules venv and ensurepip. On Debian or Ubuntu:" \
		"apt-get install python3-venv" >&2; exit 1; }
	@echo "[1/4] $(VENV), with $$($(PYTHON) --version)"
	@[ "$$($(BIN)/python --version 2>&1)" = "$$($(PYTHON) --version)" ] || $(PYTHON) -m venv --clear $(VENV)
	@echo "[2/4] setuptools"
	@$(PIP) -q -c constraints.txt setuptools
	@echo "[3/4] torch, the largest download"
	@$(PIP) -c constraints.txt torch
	@echo "[4/4] MMAction2, mmcv-lite, test tools and vidtx_mm (about 60 packages, a minute or more)"
	@$(PIP) -c constraints.txt --no-build-isolation -e '.[recognition,dev]' \
		| grep --line-buffered -E '^(Collecting|Processing|Building|Installing)'
	@touch $@
	@echo "done; to activate: source $(BIN)/activate"

setup-dense: $(DENSE_STAMP)

# Pins of constraints-dense.txt override those of constraints.txt.
$(DENSE_STAMP): $(STAMP) constraints-dense.txt tools/install_mmcv.py
	@echo "[1/5] $(DENSE), with $$($(PYTHON) --version)"
	@[ "$$($(DENSE)/bin/python --version 2>&1)" = "$$($(PYTHON) --version)" ] || $(PYTHON) -m venv --clear $(DENSE)
	@awk -F'==' '!/^#/ && NR == FNR { own[$$1]; print } !/^#/ && NR > FNR && !($$1 in own)' \
		constraints-dense.txt constraints.txt > $(DENSE)/constraints.txt
	@echo "[2/5] torch"
	@$(DENSE_PIP) -q -c $(DENSE)/constraints.txt setuptools wheel ninja
	@$(DENSE_PIP) -c $(DENSE)/constraints.txt torch 'numpy<2'
	@echo "[3/5] mmcv with operators"
	@$(DENSE_PIP) -q -c $(DENSE)/constraints.txt mmengine
	@$(DENSE)/bin/python tools/install_mmcv.py
	@echo "[4/5] mmdet, mmsegmentation, mmpretrain, MMAction2, test tools and vidtx_mm"
	@$(DENSE_PIP) -c $(DENSE)/constraints.txt --no-build-isolation -e '.[dense]' openmim pytest pytest-xdist \
		| grep --line-buffered -E '^(Collecting|Processing|Building|Installing)'
	@echo "[5/5] mmpose, without its dependency chumpy, which does not install"
	@$(DENSE_PIP) -q -c $(DENSE)/constraints.txt --no-deps mmpose
	@touch $@

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

test: test-recognition test-dense

# One torch thread per process, since the processes share the cores.
test-recognition: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --durations=15 --ignore tests/dense

test-dense: setup-dense
	OMP_NUM_THREADS=1 $(DENSE)/bin/python -m pytest -n $(JOBS) --dist loadfile --durations=15 tests/dense

demo: setup
	$(BIN)/python tools/demo.py

clean:
	rm -rf $(VENV) $(DENSE) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache work_dirs/demo
