"""The `anonymize` stage: writes a variant of a data set in which every person's region was changed."""
