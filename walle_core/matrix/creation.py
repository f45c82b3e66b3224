"""Functions that make arrays. `device` is None or ``cpu``; dtypes default to float64 for floats and int64 for integers."""

from __future__ import annotations
