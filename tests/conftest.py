"""Tests keep no plans in the cache folder of whoever runs them; those of the cache itself have a folder of their own."""

import os

os.environ.setdefault("WALLE_CACHE_LIMIT", "0")
