"""The `evaluate` stage: the metrics of one model, and the evidence that the report resamples."""
