"""Collective storage: many small writes of many tasks become one transaction."""
