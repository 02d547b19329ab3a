# `make demo` and `make test` set everything up on a bare machine with python3.11, make and git.
# The environment lives in .venv and is renewed when requirements.lock or pyproject.toml changes.

PYTHON ?= python3.11
CORES ?= all
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONNOUSERSITE := 1

.PHONY: demo quick test setup lint types check cluster docs lock generated

demo: setup  ## the default study: tables, figures and results/report.html
	snakemake --cores $(CORES)
	@echo; cat logs/report/html.log; echo "More in results/report.html and results/tables/impact.md."

quick: setup  ## the product in some minutes: four variants, one seed, runs/quick/results/report.html
	snakemake --cores $(CORES) --configfile config/quick.yaml
	@echo; cat runs/quick/logs/report/html.log; echo "More in runs/quick/results/report.html."

test: setup lint types check  ## everything that CI runs

setup: $(VENV)/.ready  ## the environment

$(VENV)/.ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) is not on the PATH; install Python 3.11 or run make PYTHON=/path/to/python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m compileall -q src
	touch $@

lint:
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

types:
	mypy

check:  ## every test, the files side by side, those that take longest first (tests/conftest.py)
	pytest --numprocesses auto --maxprocesses 8 --dist loadfile --no-loadscope-reorder

cluster: setup  ## the tests on a real SLURM, which apt installs (root, Debian or Ubuntu); some twenty minutes
	command -v sbatch >/dev/null || { apt-get update -qq && apt-get install -qq --no-install-recommends slurm-wlm munge; }
	pytest tests/cluster

docs: setup  ## the documentation's site in site/, every link checked; nothing is fetched
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet
	@echo "open site/index.html; to search it, too: python -m http.server --directory site"

lock:  ## requirements.lock anew from pyproject.toml: names, versions and hashes, no addresses
	uv pip compile pyproject.toml --extra dev --generate-hashes --python-version 3.11 --no-emit-index-url --quiet -o requirements.lock

generated:  ## schema, default study, pages of configuration and commands, and the README's graph anew
	anonbench config --write
	anonbench rulegraph --write
