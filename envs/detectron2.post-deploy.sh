#!/usr/bin/env bash
# Puts this project's own package into the environment; Snakemake runs it in the project's folder.
set -euo pipefail
python -m pip install --no-deps --no-build-isolation --editable .
