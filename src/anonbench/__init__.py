"""anonbench: what does anonymizing training data cost, and what does it buy?"""

__version__ = "0.1.0"
