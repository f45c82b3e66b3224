"""Deltas from the versions that devices have to a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import attrs

from walle_deploy.deltas.choose import smallest
from walle_deploy.deltas.contract import FULL, Delta
from walle_deploy.manifest import Digest
from walle_deploy.publish.version import Built

VERSIONS = 2  # before the new one, from which deltas are made
BUDGET_S = 30.0  # for one delta
LEAST = 4096  # bytes of a file, below which devices ask for no deltas
APPLY_S = (
    25e-9  # for one byte of the new file, that applying a delta may take here: a tenth of a second for 4 MB
)
LEAST_S = 0.05  # that it may take for a small file
WORTH = 0.9  # of a file that its delta may have


@attrs.frozen
class MadeDeltas:
    """The deltas that lead to one file: what is said of each, and its content."""

    path: str
    sha256: Digest
    deltas: tuple[tuple[Delta, bytes], ...]


def make_deltas(
    built: Built,
    olds: Sequence[Mapping[str, bytes]],
    known: Callable[[Digest], Sequence[Delta]],
    step: Callable[[str], None] = lambda text: None,
    budget_s: float = BUDGET_S,
) -> Iterator[MadeDeltas]:
    """For each shared file that changed, the smallest delta from each older file of its path, and from nothing.

    Args:
        built: the new version.
        olds: files of the versions that devices have.
        known: what the server lists for a file; those deltas are not made again.
        step: is told which file is at work.
        budget_s: for one delta.
    """
    made: set[Digest] = set()
    for file in built.manifest.files:
        if file.exclusive or file.size < LEAST or file.sha256 in made:
            continue
        made.add(file.sha256)
        bases: dict[Digest, bytes | None] = {"": None}
        for old in olds:
            if file.path in old:
                bases[hashlib.sha256(old[file.path]).hexdigest()] = old[file.path]
        for base in (file.sha256, *(delta.base for delta in known(file.sha256))):
            bases.pop(base, None)
        if bases:
            step(f"deltas of {file.path}")
            yield MadeDeltas(file.path, file.sha256, tuple(_made(bases, built.files[file.path], budget_s)))


def _made(bases: Mapping[Digest, bytes | None], new: bytes, budget_s: float) -> Iterator[tuple[Delta, bytes]]:
    for base, old in bases.items():
        found = smallest(old, new, budget_s=budget_s, apply_s=max(LEAST_S, APPLY_S * len(new)))
        if found is None or len(found.data) > WORTH * len(new) or (base and found.codec == FULL):
            continue  # a delta from nothing serves every base
        yield Delta(found.codec, base, hashlib.sha256(found.data).hexdigest(), len(found.data)), found.data
