"""The `attack` stage: what a variant still gives away to somebody who knows how it was made."""
