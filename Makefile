# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
# Installed first, so that one known build serves everything; any torch from 2.4 on will do.
TORCH ?= torch==2.13.0
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
DEMO := predictions/emoji-voc-val

.PHONY: demo test lint docs benchmark train-tiny clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(PIP) install "$(TORCH)"
	$(PIP) install --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml $(VENV)/.installed
	$(PIP) install --editable ".[dev,train,plots]"
	@touch $@

demo: $(VENV)/.installed  ## masks for the embedded dataset with the embedded model, evaluated
	$(BIN)/iseg generate --dataset emoji-voc --split val --out $(DEMO) --overlays
	$(BIN)/iseg evaluate $(DEMO)
	@echo "The pictures are in $(DEMO)/overlays, the masks in $(DEMO)."

test: lint  ## lint, format, types, imports, generated docs, tests
	$(BIN)/python -m pytest

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
