"""Packages of others: what anonbench must take without knowing them."""
