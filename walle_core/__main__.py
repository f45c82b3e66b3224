"""``python -m walle_core`` is ``walle``."""

from __future__ import annotations

import sys

from walle_core.cli import main

sys.exit(main())
