#!/usr/bin/env bash
# Puts diffusers and this project's own package into the environment; Snakemake runs it in the project's folder.
set -euo pipefail
python -m pip install "diffusers==0.42.1" "transformers==5.23.0" "accelerate==1.15.0"
python -m pip install --no-deps --no-build-isolation --editable .
