# The commands of the README. Everything is installed into .venv of this checkout; PYTHON names the interpreter it is made with.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Touched when an installation has succeeded, so that a second make starts at once.
DEMO_STAMP := $(VENV)/.installed-demo
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Until a command takes Ctrl-C over, it ends by it at once, without a traceback out of an import.
TRIALOG := $(BIN)/python -c 'import signal; signal.signal(signal.SIGINT, signal.SIG_DFL); from trialog.__main__ import main; main()'

# Runs an installer whose words matter only when it fails; after Ctrl-C nothing of it is shown.
quietly = said=$$($(1) 2>&1) || { rc=$$?; printf '%s\n' "$$said" >&2; exit $$rc; }

# Every command runs in this checkout's own environment, whatever the caller's shell has set. Without
# compiled code on the disk every process that a test starts would compile trialog anew.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV PYTHONDONTWRITEBYTECODE

.PHONY: help demo up test lint types fmt bench chaos pins install clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

# exec: trialog itself, not a shell around it, gets the terminal's Ctrl-C and gives make its exit status.
demo: $(DEMO_STAMP) ## search hyper-parameters on the embedded service, compare the runs, keep serving until Ctrl-C
	@exec $(TRIALOG) demo

up: $(DEMO_STAMP) ## start the service alone, keep serving until Ctrl-C
	@exec $(TRIALOG) up

test: $(DEV_STAMP) ## run all tests
	@exec $(BIN)/python -m pytest --ignore=tests/bench --numprocesses=2 --dist=worksteal

lint: $(DEV_STAMP) ## check style, format and the walls between the packages
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

types: $(DEV_STAMP) ## check types
	@$(BIN)/mypy

fmt: $(DEV_STAMP) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

bench: $(DEV_STAMP) ## run the benchmarks and print their table
	@exec $(BIN)/python -m tests.bench

chaos: $(DEV_STAMP) ## break everything under load and check what is left, ten minutes; ARGS="--seed 7 --minutes 60 --log kafka"
	@exec $(BIN)/python -m tests.chaos $(ARGS)

install: $(DEV_STAMP) ## install everything needed to work on trialog

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "trialog needs Python 3.11 or newer; name one with PYTHON=...")'
	@$(call quietly,$(PYTHON) -m venv $(VENV))

$(DEMO_STAMP): requirements/demo.txt pyproject.toml | $(BIN)/python
	@echo "installing trialog and what the demo needs into $(VENV) (once, a minute or less)"
	@$(call quietly,$(PIP) install --quiet --requirement requirements/demo.txt)
	@$(call quietly,$(PIP) install --quiet --no-deps --editable .)
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(DEMO_STAMP)
	@echo "installing the development tools into $(VENV)"
	@$(call quietly,$(PIP) install --quiet --requirement requirements/dev.txt)
	@touch $@

# Resolved in an empty environment: what happens to be in .venv must not get into the pins. dev is resolved under demo's pins.
pins: ## resolve requirements/*.txt anew
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder/venv"; pip="$$folder/venv/bin/python -m pip --disable-pip-version-check"; \
	freeze="$$pip freeze --exclude trialog --exclude pip --exclude setuptools"; \
	$$pip install --quiet '.[demo]'; \
	{ echo '# make pins wrote this: trialog[demo], resolved.'; $$freeze; } > "$$folder/demo.txt"; \
	$$pip install --quiet --constraint "$$folder/demo.txt" '.[dev]'; \
	{ echo '# make pins wrote this: what trialog[dev] needs beyond trialog[demo], resolved.'; echo '-r demo.txt'; \
	  $$freeze | grep -vxFf "$$folder/demo.txt"; } > "$$folder/dev.txt"; \
	cp "$$folder/demo.txt" "$$folder/dev.txt" requirements/

clean: ## remove .venv, caches and builds
	@rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
