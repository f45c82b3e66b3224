"""Backends that the core brings: the reference, and table backends driven by a plugin's kernel tables."""
