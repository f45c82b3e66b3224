"""Removes the files that no manifest names any more."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Container, Iterable
from typing import Any

import attrs
import obstore

from walle_deploy.errors import DeployError, StoreError
from walle_deploy.manifest import Digest, Manifest
from walle_deploy.store.deltas_index import PREFIX as LISTS
from walle_deploy.store.deltas_index import DeltaIndex
from walle_deploy.store.files import ASIDE, DEVICES, REFRESH_S, SHARED, FileStore, _meant

MIN_AGE_S = 2 * REFRESH_S  # least age: what a release that is being made has put or found is younger


@attrs.frozen
class Collected:
    """What a collection did.

    Attributes:
        removed: objects.
        bytes: of them.
        kept: objects that are named, or too young.
    """

    removed: int
    bytes: int
    kept: int


def collect(
    store: FileStore,
    manifests: Iterable[tuple[Manifest, str]],
    also: Iterable[Digest] = (),
    min_age_s: float = 24 * 3600.0,
    now: datetime.datetime | None = None,
) -> Collected:
    """Removes what is at least `min_age_s` old and not named by one of `manifests` or `also`.

    Deltas that are listed for a file stay as long as it and their base are named; their lists go with their files.

    Args:
        store: whose files.
        manifests: all that any device may still ask for, each with the device that its exclusive files belong to; "" if
            it has none.
        also: digests of further shared files: encoded manifests, or deltas that are not listed.
        min_age_s: at least `MIN_AGE_S`, so that files put for a manifest that is not among `manifests` yet are kept.
        now: for tests.

    Raises StoreError. Interrupted, it can just be run again.
    """
    if min_age_s < MIN_AGE_S:
        raise StoreError(
            f"min_age_s is {min_age_s}; at least {MIN_AGE_S} keeps what releases in the making need"
        )
    manifests = list(manifests)
    keep = {store.key(digest) for digest in also}
    for manifest, device in manifests:
        for file in manifest.files:
            if file.exclusive and not device:
                raise StoreError(f"task {manifest.task!r}: exclusive file {file.path!r} without a device")
            keep.add(store.key(file.sha256, device if file.exclusive else ""))
    shared = {file.sha256 for manifest, _ in manifests for file in manifest.files if not file.exclusive}
    newest = (now or datetime.datetime.now(datetime.UTC)) - datetime.timedelta(seconds=min_age_s)
    removed = size = kept = 0
    with _meant("collect"):
        keep |= _listed(store, shared, newest)
        pages = [obstore.list(store.objects, prefix) for prefix in (SHARED, DEVICES, ASIDE)]
        for found in itertools.chain.from_iterable(itertools.chain.from_iterable(pages)):
            if (
                found["path"] in keep
                or found["last_modified"] > newest
                or not _still(store, found["path"], newest)
            ):
                kept += 1
                continue
            obstore.delete(store.objects, found["path"])
            removed += 1
            size += found["size"]
    return Collected(removed, size, kept)


def _listed(store: FileStore, shared: Container[Digest], newest: Any) -> set[str]:
    """Keys of the deltas between `shared` files, and of all that a young list names; lists of other files are removed."""
    index, keys = DeltaIndex(store), set()
    for found in itertools.chain.from_iterable(obstore.list(store.objects, LISTS)):
        sha256 = found["path"].rpartition("/")[2]
        young = found["last_modified"] > newest
        if not young and sha256 not in shared:
            obstore.delete(store.objects, found["path"])
            continue
        try:
            kept = index.get(sha256) if young else index.keep(sha256, shared)
        except DeployError:
            continue  # damaged: the next version that is published writes it anew
        keys |= {store.key(delta.sha256) for delta in kept}
    return keys


def _still(store: FileStore, key: str, newest: Any) -> bool:
    """Whether an object is there and nobody has written it since it was listed."""
    found = store._head(key)
    return found is not None and found["last_modified"] <= newest
