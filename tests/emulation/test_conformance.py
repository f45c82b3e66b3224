"""The conformance kit's tests of operators on emulated instructions."""

from walle_core.testing.conformance.test_atomic_ops import *  # noqa: F403
from walle_core.testing.conformance.test_composites import *  # noqa: F403
