"""Content-addressed files in an object store."""
