"""The methods that come with the package; each is a plugin of the group ``anonbench.methods``."""
