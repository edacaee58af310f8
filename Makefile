# make demo    set everything up, then run the digits from images to a tracked table
# make test    set everything up, then lint, types and tests
# make lint    format, lint and types alone
# make docs    the documentation, into site/index.html; a broken link or an undocumented name fails
# make notebooks   run the notebooks and save them with their outputs
# make bench   the measurement of fitting; benchmarks/ has the others that the README quotes
# make mlflow-server   an MLflow server on port 5000, its runs in PostgreSQL (PORT=, DATA=)
#
# A machine with a GPU: install its torch into .venv first, then `make CONSTRAINTS= setup`.
#
# Ray starts many processes, and each compiles anew what no cache holds: so packages are compiled
# here (by all cores, where pip takes one), and the caches of our own are written.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONSTRAINTS ?= -c constraints.txt
BIN := .venv/bin
SETUP := .venv/.set-up
SWIFT := .venv/swift/.set-up
PORT ?= 5000
DATA ?= dwszoo-data/mlflow-server

.PHONY: demo test lint style docs notebooks bench mlflow-server setup clean

demo: $(SETUP)
	$(BIN)/dwszoo run digits

# types are among the tests, beside others, as mypy takes a minute
test: style $(SWIFT)
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

lint: style
	$(BIN)/mypy

style: $(SETUP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

docs: $(SETUP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: $(SETUP)
	$(BIN)/python notebooks/execute.py

bench: $(SETUP)
	$(BIN)/python benchmarks/fitting.py

mlflow-server: $(SETUP)
	$(BIN)/python deploy/mlflow_server.py --folder $(DATA) --port $(PORT)

setup: $(SETUP)

$(SETUP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Python 3.11 or newer is needed: try make PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/pip || { echo "set-up 1/3: a Python environment in .venv" && $(PYTHON) -m venv .venv; }
	@echo "set-up 2/3: torch (0.2 GB to download; several GB where the package index brings its CUDA build)"
	@$(BIN)/python -m pip install --quiet --no-compile $(CONSTRAINTS) torch
	@echo "set-up 3/3: Ray, MLflow and all other packages (0.6 GB to download, minutes in silence)"
	@$(BIN)/python -m pip install --quiet --no-compile $(CONSTRAINTS) --editable '.[dev]'
	@$(BIN)/python -m compileall -qq -j 0 -x /tests/ .venv/lib || true  # one file of torch is of a newer Python
	@touch $@

# a durable object store for the tests of faults; its packages would clash with ours
$(SWIFT): Makefile
	@echo "set-up: an object store for the tests of faults (20 MB to download)"
	@test -x .venv/swift/bin/pip || $(BIN)/python -m venv .venv/swift
	@.venv/swift/bin/python -m pip install --quiet swift==2.38.3
	@touch $@

clean:
	rm -rf .venv build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
