# `make demo` and `make test` do all set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo boards test test-all lint format lock clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml sim/doctor.py
	$(PYTHON) sim/doctor.py
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)
	$(BIN)/xorloom demo

# Bitstreams for three boards.
boards: $(READY)
	$(BIN)/xorloom boards

test: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy tests/_ns/xorloom

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Needs uv; records names, versions and hashes only.
lock:
	uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-header \
	  --no-annotate --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find sw hw sim tests -name __pycache__ -type d -prune -exec rm -rf {} +
