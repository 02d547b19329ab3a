"""The attacks that come with the package."""
