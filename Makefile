# Every target does the set-up that it needs; `make setup` does the one that all others need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --require-hashes --only-binary=:all:
# Bytecode of what was installed: by all cores, pip does it with one.
COMPILE := -$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib

.PHONY: setup demo boards report area docs quick test test-all test-torch lint format stock lock clean
.PRECIOUS: $(READY)-%

# `make setup EXTRAS="plot torch"` adds extras of pyproject.toml, `make setup-plot` one.
setup: $(READY) $(EXTRAS:%=$(READY)-%)

$(READY): locks/default.lock pyproject.toml sim/doctor.py
	$(PYTHON) sim/doctor.py $(VENV)
	$(PYTHON) -m venv --clear $(VENV)
	$(INSTALL) -r locks/default.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	$(COMPILE)
	@touch $@

setup-%: $(READY)-%
	@:

$(READY)-%: locks/%.lock $(READY)
	$(PYTHON) sim/doctor.py $(VENV) $*
	$(INSTALL) -r $<
	$(COMPILE)
	@touch $@

# Torch is large, and builds for one machine do not suit another, so it has no lock:
# `make setup EXTRAS=torch TORCH=torch==2.13.0+cpu` takes a build of your own choice.
$(READY)-torch: $(READY)
	$(BIN)/python -m pip install --quiet --only-binary=:all: --no-build-isolation -e .[torch] $(TORCH)
	@touch $@

demo: $(READY)-report
	$(BIN)/xorloom demo

# Bitstreams for three boards.
boards: $(READY)-boards
	$(BIN)/xorloom boards

# Every result is a file of its own, made again when the code is newer; `make -j2 report` makes two
# at a time. `make report REPORT_area="bench area --target ecp5"` adds or changes one.
REPORT := build/report
SOURCES := $(filter-out sim/report/%,$(shell find sw hw sim -name "*.py"))
DEMO_FILES := build/demo/minilm.xl.safetensors
KEPT = compress $(REPORT)/minilm.safetensors -t 'encoder.layer.2.*.weight' --density 0.1
REPORT_inspect ?= inspect $(DEMO_FILES)
REPORT_bandwidth ?= bandwidth $(DEMO_FILES)
REPORT_kept-0.08 ?= $(KEPT) --index-bits 0.08 -o $(REPORT)/kept-0.08.safetensors
REPORT_kept-0.125 ?= $(KEPT) --index-bits 0.125 -o $(REPORT)/kept-0.125.safetensors
REPORT_kept-0.25 ?= $(KEPT) --index-bits 0.25 -o $(REPORT)/kept-0.25.safetensors
REPORT_rate ?= bench rate --quick --source gaussian --source minilm-rotated
REPORT_index ?= bench index --tensor gaussian --weights 300000 --density 0.1 --no-area
REPORT_value ?= bench value --weights 1000000 --no-area
REPORT_curve ?= bench curve --weights 500000
REPORT_timeline ?= simulate --weights 200000 --n-in 32 --timeline
REPORT_block ?= simulate --value block --weights 200000
REPORT_units ?= synth --by-unit --unit ip --n-in 32
REPORT_bus ?= bench bus --design xorloom --design csr --design bitmask --design dense
REPORT_JSON := $(sort $(patsubst REPORT_%,$(REPORT)/%.json,$(filter REPORT_%,$(.VARIABLES))))

report: build/demo/report.json $(REPORT_JSON)
	$(BIN)/xorloom report $^ -o $(REPORT)/report.html --title "xorloom on MiniLM-L6"

build/demo/report.json $(DEMO_FILES) &: $(READY)-report $(SOURCES)
	$(BIN)/xorloom demo

$(REPORT)/minilm.safetensors: $(READY)
	mkdir -p $(REPORT)
	ln -sf "$$($(BIN)/python -c 'from xorloom.sim.datasets import minilm; print(minilm())')" $@

$(REPORT)/%.json: $(DEMO_FILES) $(REPORT)/minilm.safetensors
	$(BIN)/xorloom $(REPORT_$*) --json > $@.partial
	mv $@.partial $@

# Area and clock of all units on all targets, in one run, and the tables of docs/results.md; goes on
# where it was stopped. `make area AREA="--target ecp5"` measures some.
area: $(READY)-dev
	$(BIN)/xorloom bench area $(AREA) --json > docs/results/area.json.partial
	mv docs/results/area.json.partial docs/results/area.json
	$(BIN)/python -m tests.project.test_area_tables

# The manual as a site. Warnings are errors, dead links among them.
docs: $(READY)-docs
	rm -rf docs/api
	$(BIN)/python -m sphinx -W --keep-going -q -E -j 2 -d build/doctrees docs build/docs

# Three tiers: `quick` builds no simulator, synthesizes, places and proves nothing; `test` has all
# that another test does not find; `test-all` has everything. A test's markers say where it is.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

quick: lint
	$(PYTEST) -m "not (build or synth or proof or long or slow)"

test: lint
	$(PYTEST) -m "not slow"

test-all: lint test-torch
	$(PYTEST)

# What needs torch, which the environment of the other tiers does not have; they skip it.
TORCH_TESTS := $(wildcard tests/sw/torch tests/sim/bench/accuracy)
test-torch: $(READY)-dev $(READY)-torch
	$(PYTEST) $(TORCH_TESTS)

lint: $(READY)-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy tests/_ns/xorloom

format: $(READY)-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The set-up with the interpreter and the pip that Debian 12 ships, and a model there and back.
STOCK := build/stock
stock:
	$(MAKE) setup PYTHON=/usr/bin/python3 VENV=$(STOCK)/venv
	$(STOCK)/venv/bin/xorloom --version
	$(STOCK)/venv/bin/python -c "import numpy as np; \
	  np.savez('$(STOCK)/w.npz', w=np.random.default_rng(1).normal(size=(64, 512)).astype('f4'))"
	$(STOCK)/venv/bin/xorloom compress $(STOCK)/w.npz --sparsity 0.9 -o $(STOCK)/w.safetensors
	$(STOCK)/venv/bin/xorloom verify $(STOCK)/w.safetensors

# Needs uv; keeps versions, `make lock UPGRADE=--upgrade` takes new ones.
lock:
	$(PYTHON) locks/make_locks.py $(UPGRADE)

clean:
	rm -rf $(VENV) build dist docs/api *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find sw hw sim tests -name __pycache__ -type d -prune -exec rm -rf {} +
