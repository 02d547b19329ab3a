"""A learned image codec: networks, entropy model, coder, streams; whoever trains it and for what is not known here."""
