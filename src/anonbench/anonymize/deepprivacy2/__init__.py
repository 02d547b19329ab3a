"""What the method ``deepprivacy2`` consists of: geometry of its crops, its published models, and the package itself."""
