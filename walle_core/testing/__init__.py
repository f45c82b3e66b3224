"""The conformance kit: what every backend must do, as one pytest suite. Needs pytest and NumPy.

pytest --pyargs walle_core.testing.conformance --walle-backend NAME
"""

from walle_core.testing.cases import Case, atomic_cases, cases
from walle_core.testing.checks import assert_ulp

__all__ = ["Case", "assert_ulp", "atomic_cases", "cases"]
