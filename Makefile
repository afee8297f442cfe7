# `make demo`, `make test` and `make test-fast` do all the set-up themselves.
PYTHON ?= python3
VENV ?= .venv
# The build that this project is tested with. Every torch from 2.4 on works.
TORCH ?= torch==2.13.0
# Tests run in a process for each core, at most four. A process takes about 1 GiB of memory.
WORKERS ?= logical
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := predictions/emoji-voc-val

PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 4 --dist worksteal

.PHONY: demo test test-fast lint docs benchmark train-tiny clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) install "$(TORCH)" --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(PIP) install "$(TORCH)" --editable ".[dev,train,plots]"
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed  ## masks for the embedded dataset with the embedded model, evaluated
	$(BIN)/iseg generate --dataset emoji-voc --split val --out $(DEMO) --overlays
	$(BIN)/iseg evaluate $(DEMO)
	@echo "The overlays are in $(DEMO)/overlays, the masks in $(DEMO)."

test: lint  ## lint, format, types, imports, generated docs, tests
	$(PYTEST) --durations 10

test-fast: $(VENV)/.installed-dev  ## unit tests: no whole commands, no Ray, no faults
	$(PYTEST) tests/unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/docs.py --check

docs: $(VENV)/.installed-dev  ## docs/cli.md and docs/settings.md from the program
	$(BIN)/python scripts/docs.py

benchmark: $(VENV)/.installed-dev  ## how fast masks are made and scored here (docs/performance.md)
	$(BIN)/iseg benchmark

train-tiny: $(VENV)/.installed-dev  ## makes the embedded dataset and model again, from a seed
	$(BIN)/python scripts/train_tiny.py

clean:
	rm -rf $(VENV) build dist predictions benchmarks
