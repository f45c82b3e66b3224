"""Settings of the tunnel's two sides; counters of its client."""

from __future__ import annotations

import attrs


@attrs.frozen
class ClientConfig:
    """Times in seconds, sizes in bytes.

    Attributes:
        window: unacknowledged bytes per connection; the server may allow less.
        batch: about how much is put into one message.
        backoff_first, backoff_max: bounds of the wait before a reconnect, which is random between 0 and the bound; the
            bound doubles with each failure. The first reconnect after a working connection does not wait.
        keepalive: silence after which a sign of life is asked for.
        dead_after: silence, while an answer is due, after which a connection counts as dead; one more message may be
            under way then, for which more time is granted, at `slowest` bytes per second.
        late: acknowledgements are late after the mean round trip plus the larger of this and four deviations.
        late_least: ... and never sooner than this.
        hedge_bytes: with more in flight than this, late acknowledgements are taken for a slow network, and not hedged.
        spare_for: how long after the start, a cut or a late acknowledgement a second connection is held ready; 0: never.
        spare_round_trip: round trip time from which a second connection pays.
    """

    window: int = 1 << 20
    batch: int = 64 << 10
    backoff_first: float = 0.1
    backoff_max: float = 60.0
    keepalive: float = 30.0
    dead_after: float = 10.0
    slowest: float = 8192.0
    late: float = 0.025
    late_least: float = 0.15
    hedge_bytes: int = 256 << 10
    spare_for: float = 300.0
    spare_round_trip: float = 0.03


@attrs.frozen
class Limits:
    """Bounds of a server. Times in seconds, sizes in bytes.

    Attributes:
        connections: open at once, and `per_device`; a device's newest connections win.
        streams: per device, ever.
        window: unacknowledged payload bytes per connection, beyond which it is not read.
        hello_timeout: from the connection to its HELLO.
        send_timeout: how long a peer may not read what is sent to it.
        idle_timeout: how long a connection may bring no whole message; clients say something every 30 s, and the largest
            message takes 128 s at 8 KiB/s.
        dictionaries: that one connection may send.
        commit_count, commit_linger: see `commit.Committer`.
    """

    connections: int = 10_000
    per_device: int = 4
    streams: int = 64
    window: int = 2 << 20
    hello_timeout: float = 10.0
    send_timeout: float = 10.0
    idle_timeout: float = 150.0
    dictionaries: int = 4
    commit_count: int = 256
    commit_linger: float = 0.001


@attrs.define
class ClientStats:
    """What happened since the start."""

    connects: int = 0
    cuts: int = 0
    hedges: int = 0
    sent: int = 0
    sent_bytes: int = 0
    resent: int = 0
