"""Image metadata on the device: what may run at all, as people with offline keys have signed it (TUF)."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    SlowRetrievalError,
)
from tuf.api.metadata import Root, Signed, Snapshot, TargetFile, Timestamp  # type: ignore[attr-defined]
from tuf.ngclient import Updater, UpdaterConfig  # type: ignore[attr-defined]

from walle_deploy.errors import TrustError
from walle_deploy.trust.answer import NAME, Director, when
from walle_deploy.trust.fetch import Fetcher, Transport
from walle_deploy.trust.state import TrustState
from walle_deploy.trust.verify import Clock, clock_says

ISSUED = "x-walle-issued"
"""When a root or a timestamp was signed, in Unix seconds: a lower bound for every clock that sees it."""


@attrs.frozen
class Limits:
    """The most bytes of each file, and the most seconds for all files of one refresh, or for one manifest."""

    root: int = 65_536
    timestamp: int = 8_192
    snapshot: int = 262_144
    targets: int = 4_194_304
    manifest: int = 1_048_576
    rotations: int = 64
    delegations: int = 16
    seconds: float = 60.0


@attrs.frozen
class Image:
    """A version of a task that the image metadata lists."""

    task: str
    version: int
    manifest: bytes
    size: int
    revoked: str = ""
    """Why it must not be installed any more; empty while it may be."""
    target: TargetFile | None = attrs.field(default=None, repr=False, eq=False)


def target_path(task: str, version: int) -> str:
    """Under which name the manifest of a version is a target. Raises TrustError for a name that is no task's."""
    if not re.fullmatch(NAME, task) or not 1 <= version < 2**32:
        raise TrustError(
            f"{task!r} version {version}: no name of a task (a-z, 0-9, - and _, parts divided by /) or version"
        )
    return f"{task}/{version}.manifest"


class ImageClient:
    """Follows an image repository from an embedded root; everything it has seen survives a restart."""

    def __init__(
        self,
        folder: Path,
        transport: Transport,
        bootstrap: bytes,
        state: TrustState,
        clock: Clock = time.time,
        limits: Limits | None = None,
    ) -> None:
        """``bootstrap`` is the root metadata that came with the device. Raises TrustError when it is none."""
        self._folder = folder
        self._transport = transport
        self._bootstrap = bootstrap
        self._state = state
        self._clock = clock
        self._limits = limits or Limits()
        folder.mkdir(parents=True, exist_ok=True)
        self._fresh: Updater | None = None
        self._director = Director.from_root(_trusted(self._updater()).root.unrecognized_fields)

    @property
    def director(self) -> Director:
        """Whom the newest root seen by this object trusts to sign answers."""
        return self._director

    def refresh(self) -> None:
        """Bring the metadata up to date, at the price of two requests when nothing is new. Raises TrustError."""
        self._fresh = None
        with _explained(self, "the image metadata cannot be trusted"):
            updater = self._updater()
            try:
                updater.refresh()
            except ExpiredMetadataError:
                # A stolen key may have pushed the time floor far ahead; a root that replaced the key takes that back.
                if not self._drop_voided(_trusted(updater).root):
                    raise
                updater = self._updater()
                updater.refresh()
        self._record(updater)
        self._fresh = updater

    def image(self, task: str, version: int) -> Image | None:
        """What the metadata lists for a version, or None. Refreshes first when nothing has. Raises TrustError."""
        path = target_path(task, version)
        if self._fresh is None:
            self.refresh()
        assert self._fresh is not None
        _trusted(self._fresh).reference_time = self._reference()
        with _explained(self, f"{task} version {version} cannot be looked up"):
            target = self._fresh.get_targetinfo(path)
        return None if target is None else _image(task, version, target)

    def manifest(self, image: Image) -> bytes:
        """The manifest itself, from the repository. Raises TrustError when it is not what the metadata says."""
        if self._fresh is None or image.target is None:
            raise TrustError(
                f"{image.task} version {image.version}: look it up before its manifest is fetched"
            )
        if image.size > self._limits.manifest:
            raise TrustError(
                f"{image.task}: a manifest of {image.size} bytes, at most {self._limits.manifest} are read"
            )
        self._fresh._fetcher = Fetcher(self._transport, self._limits.seconds)
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as folder,
            _explained(self, f"the manifest of {image.task} version {image.version} is refused"),
        ):
            return Path(self._fresh.download_target(image.target, str(Path(folder, "manifest")))).read_bytes()

    def _updater(self) -> Updater:
        most = self._limits
        config = UpdaterConfig(
            most.rotations, most.delegations, most.root, most.timestamp, most.snapshot, most.targets
        )
        fetcher = Fetcher(self._transport, most.seconds)
        with _explained(self, "the embedded root cannot be used"):
            updater = Updater(
                str(self._folder), "metadata/", None, "targets/", fetcher, config, bootstrap=self._bootstrap
            )
        _trusted(updater).reference_time = self._reference()
        return updater

    def _reference(self) -> datetime:
        now = max(self._clock(), self._state.floor())
        try:
            return datetime.fromtimestamp(now, UTC)
        except (OverflowError, ValueError, OSError) as error:
            raise TrustError(f"the device's clock says {now:.0f} s after 1970: set it") from error

    def _drop_voided(self, root: Root) -> bool:
        """Forget the times that came from keys which the root no longer trusts; whether there were any."""
        director = Director.from_root(root.unrecognized_fields)
        now_trusted = {"time.director": str(director.epoch), "time.timestamp": _keys(root, Timestamp.type)}
        voided = [
            name for name, under in now_trusted.items() if self._state.authority(name) not in {"", under}
        ]
        if voided:
            self._state.forget(*voided)
        return bool(voided)

    def _record(self, updater: Updater) -> None:
        trusted = _trusted(updater)
        root, timestamp = trusted.root, trusted.timestamp
        _distinct(root)
        director = Director.from_root(root.unrecognized_fields)
        self._drop_voided(root)
        keys = _keys(root, Timestamp.type)
        both = _keys(root, Timestamp.type, Snapshot.type)
        marks = {
            "root": ("", root.version),
            "epoch": ("", director.epoch),
            "timestamp": (keys, timestamp.version),
            "snapshot": (both, trusted.snapshot.version),
            "time.root": ("", max(_issued(root), self._state.highest("time.root", ""))),
            "time.timestamp": (keys, max(_issued(timestamp), self._state.highest("time.timestamp", keys))),
        }
        self._state.record(marks)
        self._director = director


def _image(task: str, version: int, target: TargetFile) -> Image:
    digest = target.hashes.get("sha256", "")
    custom = target.custom if isinstance(target.custom, dict) else {}
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise TrustError(f"{task} version {version}: the image metadata has no SHA-256 digest of it")
    revoked = custom.get("revoked", "")
    return Image(task, version, bytes.fromhex(digest), target.length, str(revoked), target)


def _trusted(updater: Updater) -> Any:
    # python-tuf 5 to 7 offer no public way to give the updater a time, or to read the root it trusts.
    trusted = updater._trusted_set
    if not hasattr(trusted, "reference_time"):
        raise TrustError(
            "this version of the package tuf is not known to walle_deploy: install tuf 5, 6 or 7"
        )
    return trusted


def _keys(root: Root, *roles: str) -> str:
    ids = [key for role in roles for key in sorted(root.roles[role].keyids)]
    return hashlib.sha256(" ".join(ids).encode()).hexdigest()[:16]


def _issued(signed: Signed) -> int:
    issued = signed.unrecognized_fields.get(ISSUED, 0)
    if (
        isinstance(issued, bool)
        or not isinstance(issued, int)
        or not 0 <= issued <= signed.expires.timestamp()
    ):
        raise TrustError(f"{signed.type}.json was issued at {issued!r}, which is no time before it expires")
    return issued


def _distinct(root: Root) -> None:
    """A key under two names would count twice against a threshold."""
    for name, role in root.roles.items():
        values = [root.keys[key].keyval.get("public") for key in role.keyids if key in root.keys]
        if len(set(values)) != len(values):
            raise TrustError(f"the root names one key of the role {name} twice")


@contextmanager
def _explained(client: ImageClient, what: str) -> Iterator[None]:
    try:
        yield
    except ExpiredMetadataError as error:
        clock, floor = client._clock(), client._state.floor()
        raise TrustError(
            f"{what}: {error}; {clock_says(clock, floor)}; is an old copy being served?"
        ) from error
    except BadVersionNumberError as error:
        raise TrustError(
            f"{what}: {error or 'an older version'}; refused, the repository went back"
        ) from error
    except (DownloadLengthMismatchError, LengthOrHashMismatchError) as error:
        raise TrustError(f"{what}: a file is not what the signed metadata says: {error}") from error
    except SlowRetrievalError as error:
        raise TrustError(f"{what}: too slow: {error}") from error
    except (DownloadError, RepositoryError) as error:
        cause = f" ({error.__cause__})" if error.__cause__ is not None else ""
        raise TrustError(f"{what}: {error}{cause}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, RuntimeError) as error:
        raise TrustError(f"{what}: {type(error).__name__}: {error}; at {when(client._clock())}") from error
