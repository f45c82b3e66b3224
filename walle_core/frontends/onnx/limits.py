"""How much a model file may ask for. Everything a file declares is checked against these before memory is taken."""

from __future__ import annotations

import attrs


@attrs.frozen
class Limits:
    """Ceilings for one load; a file beyond one ends in a ModelError that names it.

    Attributes:
        max_nodes: nodes of the whole model, subgraphs and inlined functions included.
        max_tensor_bytes: bytes of one tensor in memory.
        max_expanded_bytes: bytes of one tensor that is larger in memory than in the file (sparse tensors).
        max_inlined_bytes: bytes of function bodies read, counting a body once per call.
        max_depth: nesting of subgraphs, functions and types.
        max_rank: dimensions of one tensor.
        max_name: characters of one value, node or operator name.
        max_dim: largest size of one dimension.
    """

    max_nodes: int = 1 << 20
    max_tensor_bytes: int = 1 << 37
    max_expanded_bytes: int = 1 << 28
    max_inlined_bytes: int = 1 << 28
    max_depth: int = 32
    max_rank: int = 12
    max_name: int = 1 << 14
    max_dim: int = 1 << 48


DEFAULT_LIMITS = Limits()
