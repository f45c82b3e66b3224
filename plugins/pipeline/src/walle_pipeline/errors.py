"""What can go wrong in the pipeline; all are WalleErrors."""

from __future__ import annotations

from walle_core.errors import InputError, WalleError


class EventError(InputError):
    """An event is malformed, of an unknown kind, or does not fit its schema."""


class FlowError(WalleError):
    """A flow or pattern is put together in a way that cannot work."""


class LogError(WalleError):
    """An event log or a snapshot cannot be read or written."""


class StoreError(WalleError):
    """A store cannot be opened, read or written: disk full, no permission, damaged file."""


class TunnelError(WalleError):
    """The tunnel cannot deliver: refused, not authorised, wrong protocol or dictionary."""


class FrameError(TunnelError):
    """Bytes that are no valid frame: truncated, oversized, unknown version, undecodable payload."""


class TransportClosedError(TunnelError):
    """The other side, or the network between, ended a connection."""
