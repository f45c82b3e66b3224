"""Helpers for tests of the pipeline and of what is built on it."""
