"""Numbers as commands print them."""

import pytest

from walle_core.cli.common import si


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (0.0, "0 B"),
        (1, "1 B"),
        (1234567, "1.23 MB"),
        (0.0025, "2.5 mB"),
        (None, ""),
        (float("inf"), "unlimited"),
    ],
)
def test_a_prefix_fits_the_number(value, text):
    assert si(value, "B") == text
