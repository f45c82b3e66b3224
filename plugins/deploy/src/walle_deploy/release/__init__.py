"""Releases: plans in stages, a pure state machine that walks them, and the tests that roll one back by itself."""
