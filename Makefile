# Everything works in .venv inside the checkout; nothing is installed elsewhere.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo study test lint format bench bench-train bench-data bench-generation clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "miniseries needs Python 3.11 or newer, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1); try 'make PYTHON=python3.12'"; exit 1; }
	@$(PYTHON) -c 'import shutil, sys; sys.exit(shutil.disk_usage(".").free < 4e9)' || \
		{ echo "less than 4 GB are free on this disk, which the environment needs; free some and run make again"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "this Python has no venv module; install it (Debian: apt-get install python3-venv) and run make again"; exit 1; }
	@echo "making $(VENV) (about 2 minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: setup
	@$(BIN)/miniseries run tiny_drope_50_long

# The tiny family, its RoPE schedules compared: a few minutes, and a report to open in a browser.
study: setup
	@$(BIN)/miniseries study tiny tiny_drope_25 tiny_drope_50 tiny_drope_75

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup bench-train bench-data bench-generation
	@$(BIN)/python -m benchmarks.store_transfer
	@$(BIN)/python -m benchmarks.stream_reading

bench-train: setup
	@$(BIN)/python -m benchmarks.train_step

bench-data: setup
	@$(BIN)/python -m benchmarks.data

bench-generation: setup
	@$(BIN)/python -m benchmarks.generation

prefect.yaml: setup
	@$(BIN)/python -m flows.deployments > prefect.yaml

clean:
	rm -rf $(VENV) build dist *.egg-info
