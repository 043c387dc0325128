# Every target sets up what it needs in .venv by itself; a second call installs nothing.
.PHONY: help setup probe docs test lint check

BIN   := .venv/bin
STAMP := .venv/installed
export PYTHON

help:
	@echo "make probe   look at the attention of the embedded model across two shots (pictures in runs/)"
	@echo "make docs    the documentation site, in docs/_build/html"
	@echo "make test    all tests"
	@echo "make lint    ruff and mypy"
	@echo "make check   lint and test"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/setup
	@.ci/setup
	@touch $@

probe: $(STAMP)
	@$(BIN)/attnscope probe --layers 7-28

docs: $(STAMP)
	@$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

test: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: lint test
