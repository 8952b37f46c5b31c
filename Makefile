# make help lists the targets. PYTHON=python3.12 make ... picks the interpreter for a new .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint constraints.txt
COMPILE := $(BIN)/python -m compileall -q minigrad gpt train    # so that the first import is as quick as the others
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

.PHONY: help train test test-deep lint bench clean distclean
.NOTPARALLEL:            # two installs into one .venv must not overlap
.DELETE_ON_ERROR:

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

train: $(VENV)/.run  ## install what NumPy needs (no torch) and train a small GPT on Python's documentation
	@$(BIN)/python -m train pretrain --config examples/first.toml

test: $(VENV)/.test  ## install torch, the oracle, and run the tests
	@$(PYTEST)

test-deep: $(VENV)/.test  ## the same tests on many more examples
	@HYPOTHESIS_PROFILE=deep $(PYTEST)

lint: $(VENV)/.test  ## ruff
	@$(BIN)/python -m ruff check .

bench: $(VENV)/.test  ## measure against torch
	@$(BIN)/python -m bench ops

clean:  ## remove caches and build leftovers (.venv and runs/ stay)
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean  ## clean, and remove .venv
	@rm -rf $(VENV)

# The stamps say what .venv holds; .test includes all of .run.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing minigrad into $(VENV) ..."
	@$(PIP) --editable .
	@$(COMPILE)
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing minigrad, torch and the test tools into $(VENV) ..."
	@$(PIP) --editable '.[test]'
	@$(COMPILE)
	@touch $(VENV)/.run $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' here: name one with make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("minigrad needs Python 3.11 or newer, '\''$(PYTHON)'\'' is %d.%d: name another with make PYTHON=python3.11" % v[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PYTHON)' cannot make virtual environments: install its venv module (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
