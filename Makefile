# `make demo` and `make test` do all set-up themselves.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo boards report quick test test-all lint format lock clean

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

build/demo/report.json $(DEMO_FILES) &: $(READY) $(SOURCES)
	$(BIN)/xorloom demo

$(REPORT)/minilm.safetensors: $(READY)
	mkdir -p $(REPORT)
	ln -sf "$$($(BIN)/python -c 'from xorloom.sim.datasets import minilm; print(minilm())')" $@

$(REPORT)/%.json: $(DEMO_FILES) $(REPORT)/minilm.safetensors
	$(BIN)/xorloom $(REPORT_$*) --json > $@.partial
	mv $@.partial $@

# Three tiers: `quick` builds no simulator, synthesizes, places and proves nothing; `test` has all
# that another test does not find; `test-all` has everything. A test's markers say where it is.
PYTEST := $(BIN)/python -m pytest -n 2 --dist worksteal

quick: lint
	$(PYTEST) -m "not (build or synth or proof or long or slow)"

test: lint
	$(PYTEST) -m "not slow"

test-all: lint
	$(PYTEST)

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
