"""The `train` stage: a variant and a recipe in, weights and predictions out."""
