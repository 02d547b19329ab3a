#!/usr/bin/env bash
# Puts facenet-pytorch and this project's own package into the environment; Snakemake runs it in the project's folder.
# Without its dependencies: it asks for older versions of torch and NumPy than those it runs with.
set -euo pipefail
python -m pip install --no-deps "facenet-pytorch==2.6.0"
python -m pip install --no-deps --no-build-isolation --editable .
