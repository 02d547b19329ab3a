"""A learned image codec: networks, entropy model, coder, streams; whoever trains it and for what is not known here."""

MAX_PIXELS = 1 << 24
"""Pixels of the largest image that is coded unless a caller says otherwise."""
