# `make demo` and `make test` work on a fresh machine with Python 3.11+ and make.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test check bench locks clean
setup: .venv/ready

.venv/ready: locks/development.lock $(wildcard packages/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0])'
	@echo "Setting up .venv (once)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r locks/development.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e packages/core -e packages/runner -e packages/server -e packages/client
	@touch $@

demo: setup
	@$(BIN)/python notebooks/demo.py

check: setup
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

test: check
	$(BIN)/pytest --numprocesses 2 --dist loadfile $(ARGS)

# `make bench BENCH=serving` one group, `make bench BENCH="server publish"` two; ARGS=--quick only tries whether it works.
bench: setup
	@$(BIN)/python -m bench $(BENCH) $(ARGS)

locks: setup
	locks/compile

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache
