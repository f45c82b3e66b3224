"""What a check finds: how bad, where, what, and what to do."""

from __future__ import annotations

import attrs

ERROR, WARNING, NOTE = "error", "warning", "note"


@attrs.frozen
class Finding:
    """One of them. `level`: an ``error`` keeps a version from being made; a ``warning`` may be meant; a ``note`` informs."""

    level: str
    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.where}: {self.what}" + (f"; {self.fix}" if self.fix else "")
