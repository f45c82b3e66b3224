"""Deltas between two versions of a file: several codecs, of which the smallest delta wins."""

from __future__ import annotations

from walle_core.registry import Registry
from walle_deploy.deltas.contract import Codec


def register_codecs(registry: Registry[Codec]) -> None:
    """Adds the codecs of this package, the quick ones first."""
    from walle_deploy.deltas.bsdiff import Bsdiff
    from walle_deploy.deltas.weights import Weights
    from walle_deploy.deltas.zstd import Full, ZstdPatch

    for codec in (Full(), Weights(), ZstdPatch(), Bsdiff()):
        registry.add(codec)
