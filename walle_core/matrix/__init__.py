"""Arrays: the Python array API standard, 2024.12, on Walle's Tensor; use it as `from walle_core import matrix as xp`."""
