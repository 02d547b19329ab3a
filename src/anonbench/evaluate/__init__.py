"""The `evaluate` stage: COCO metrics of one model, and the matches that the report resamples."""
