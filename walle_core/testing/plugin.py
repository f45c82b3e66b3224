"""pytest plugin of the conformance kit: which backends to test, devices that are absent, known gaps (strict)."""

from __future__ import annotations

import fnmatch
import os
import zlib
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--walle-backend`` and ``--walle-plugin``."""
    group = parser.getgroup("walle")
    group.addoption(
        "--walle-backend", action="append", default=[], metavar="NAME", help="backend to test; default: all"
    )
    group.addoption(
        "--walle-plugin", action="append", default=[], metavar="NAME", help="test what this plugin registers"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuses names that are not installed, with the reason where a plugin failed to load."""
    names, sources = config.getoption("--walle-backend"), config.getoption("--walle-plugin")
    if not names and not sources:
        return
    from walle_core.plugins import load_plugins

    found = load_plugins()
    for kind, unknown, known in (
        ("backend", [n for n in names if n not in found.backends], list(found.backends)),
        ("plugin", [n for n in sources if n not in found.report or n in found.failed], list(found.report)),
    ):
        if unknown:
            failed = "".join(f"; plugin {k!r} failed: {v}" for k, v in found.failed.items())
            raise pytest.UsageError(f"no {kind} {', '.join(unknown)}; installed: {', '.join(known)}{failed}")


def chosen(config: pytest.Config) -> list[Any]:
    """Backends that this run tests."""
    from walle_core.plugins import load_plugins

    backends = load_plugins().backends
    names = list(config.getoption("--walle-backend"))
    for source in config.getoption("--walle-plugin"):
        names += backends.of(source)
    if names or config.getoption("--walle-plugin"):
        return [backends.get(n) for n in dict.fromkeys(names)]
    return backends.values()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Gives every test with an argument ``backend`` one run per backend."""
    if "backend" in metafunc.fixturenames and metafunc.module.__name__.startswith("walle_core.testing"):
        backends = chosen(metafunc.config)
        metafunc.parametrize("backend", backends, ids=[b.name for b in backends], scope="session")


def _sampled(item: pytest.Item) -> bool:
    backend = getattr(getattr(item, "callspec", None), "params", {}).get("backend")
    share = int(getattr(backend, "kit_share", 1))
    declared = any(fnmatch.fnmatchcase(item.name, gap) for gap in getattr(backend, "known_gaps", ()))
    return share == 1 or declared or zlib.crc32(item.name.encode()) % share == 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Declared gaps must fail; a backend without a device is skipped, or fails where devices are required.

    A backend whose attribute ``kit_share`` is n > 1 (it compiles kernels for every case) runs one case in n, always the
    same ones, unless ``WALLE_FULL=1``.
    """
    if os.environ.get("WALLE_FULL", "") in {"", "0"}:
        left = [item for item in items if not _sampled(item)]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if _sampled(item)]
    absent: dict[str, bool] = {}
    required = os.environ.get("WALLE_REQUIRE_DEVICES", "") not in {"", "0"}
    for item in items:
        backend = getattr(getattr(item, "callspec", None), "params", {}).get("backend")
        if backend is None or not hasattr(backend, "known_gaps"):
            continue
        if backend.name not in absent:
            absent[backend.name] = not backend.devices()
        if absent[backend.name] and not required:
            item.add_marker(
                pytest.mark.skip(reason=f"skipped: backend {backend.name} has no device on this machine")
            )
        for pattern, reason in backend.known_gaps.items():
            if fnmatch.fnmatchcase(item.name, pattern):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
