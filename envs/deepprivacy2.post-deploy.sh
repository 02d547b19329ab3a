#!/usr/bin/env bash
# Puts what hukkelas/deep_privacy2 imports from the package index, and this project's own package, into the environment;
# Snakemake runs it in the project's folder. What is not on an index is the user's to install: docs/deepprivacy2.md.
set -euo pipefail
# kornia 0.6.8: later ones refuse the arguments that the histogram matching passes; setuptools: detectron2 wants pkg_resources.
python -m pip install "setuptools<80" "kornia==0.6.8" "webdataset==1.0.2" "torch-fidelity==0.4.0" "scikit-image==0.26.0" "timm==1.0.31" \
    "motpy==0.0.10" "easydict==1.14" "validators==0.36.0" "cloudpickle==3.1.2" "omegaconf==2.3.1" "hydra-core==1.3.8" \
    "tensorboard==2.21.0" "einops==0.8.2" "einops-exts==0.0.4" "resize-right==0.0.2" "fast-pytorch-kmeans==0.2.2" \
    "ftfy==6.3.1" "regex" "av" "fvcore" "iopath" "black" "termcolor" "yacs" "tabulate" "pydot" "click" "scipy" "matplotlib"
python -m pip install --no-deps --no-build-isolation --editable .
