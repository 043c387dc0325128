# Every target sets up what it needs in .venv by itself; a second call installs nothing.
.PHONY: help setup probe test lint check

BIN   := .venv/bin
STAMP := .venv/installed
export PYTHON

help:
	@echo "make probe   look at the attention of the embedded model across two shots (pictures in runs/)"
	@echo "make test    all tests"
	@echo "make lint    ruff and mypy"
	@echo "make check   lint and test"

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt .ci/setup
	@.ci/setup
	@touch $@

probe: $(STAMP)
	@$(BIN)/attnscope probe --layers 7-28

test: $(STAMP)
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: lint test
