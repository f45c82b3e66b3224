"""The part of pyobjc's module objc that the backend uses."""

from contextlib import contextmanager

depth = 0


@contextmanager
def autorelease_pool():
    """Counts how deep pools are nested: Metal's temporary objects must be made inside of one."""
    global depth
    depth += 1
    try:
        yield
    finally:
        depth -= 1
