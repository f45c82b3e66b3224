"""Sinks: where the tunnel's server stores records. One module per store; each needs its own extra only when used."""

from __future__ import annotations

from walle_core.errors import UnsupportedError
from walle_pipeline.tunnel.contract import Sink


def sink_for(where: str) -> Sink:
    """The sink for a path (SQLite), or a URL ``nats://`` (several separated by commas) or ``postgresql://``.

    Raises UnsupportedError for another URL, and if the library of the sink is not installed.
    """
    scheme = where.partition("://")[0] if "://" in where else ""
    try:
        if scheme == "nats":
            from walle_pipeline.tunnel.sinks.nats import NatsSink

            servers = where.split(",")
            return NatsSink(servers, replicas=3 if len(servers) >= 3 else 1)
        if scheme in ("postgresql", "postgres"):
            from walle_pipeline.tunnel.sinks.postgres import PostgresSink

            return PostgresSink(where)
    except ImportError as error:
        raise UnsupportedError(
            f"{where}: {error}; pip install 'walle-pipeline[{scheme.removesuffix('ql')}]'"
        ) from error
    if scheme not in ("", "sqlite"):
        raise UnsupportedError(
            f"{where}: no sink for {scheme}://; there are a file's path, nats:// and postgresql://"
        )
    from walle_pipeline.tunnel.sinks.sqlite import SqliteSink

    return SqliteSink(where.removeprefix("sqlite://"))
