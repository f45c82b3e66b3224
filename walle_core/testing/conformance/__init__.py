"""The suites; run them with ``pytest --pyargs walle_core.testing.conformance``."""
