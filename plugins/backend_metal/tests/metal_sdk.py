"""What the macOS SDK's Metal has: protocols, selectors and constants, from the metadata that pyobjc publishes."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import urllib.request
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[3] / "build/metal"
NAME = "pyobjc_framework_metal-12.2.2.tar.gz"
SHA256 = "0e7289281cb44ac9f4379ad9c6a6602a7a15fd491acc35949cdc05c5b9790b94"
MEMBER = "metadata/raw/arm64-26.5.fwinfo"  # macOS 26.5
MOST_BYTES = 1 << 24


def _index() -> str:
    """The package index that pip uses."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip().rstrip("/") or "https://pypi.org/simple"


def _download() -> bytes:
    accept = {"Accept": "application/vnd.pypi.simple.v1+json"}
    request = urllib.request.Request(f"{_index()}/pyobjc-framework-metal/", headers=accept)
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    url = next(f["url"] for f in files if f["filename"] == NAME)
    with urllib.request.urlopen(url, timeout=60) as answer:
        return bytes(answer.read(MOST_BYTES))


@cache
def definitions() -> dict[str, Any]:
    """The SDK's definitions; fetched once into build/metal, checked against the hash that is written here."""
    path = FOLDER / NAME
    data = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(data).hexdigest() != SHA256:
        data = _download()
        assert hashlib.sha256(data).hexdigest() == SHA256, f"{NAME} is not what it was"
        FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        member = next(m for m in tar.getmembers() if m.name.endswith(MEMBER))
        held = tar.extractfile(member)
        assert held is not None
        lines = held.read().decode().splitlines()
    found: dict[str, Any] = json.loads(
        "\n".join(line for line in lines if not line.lstrip().startswith("//"))
    )
    return dict(found["definitions"])


@cache
def methods(kind: str) -> dict[str, dict[str, Any]]:
    """Selector -> description, of a protocol or class with all that it inherits."""
    both = {**definitions()["classes"], **definitions()["formal_protocols"]}
    if kind not in both:
        return {}
    found: dict[str, dict[str, Any]] = {}
    for parent in both[kind].get("implements", ()):
        found.update(methods(parent))
    for p in both[kind].get("properties", ()):
        getter = p.get("getter", p["name"])
        found[getter] = {"args": [], "retval": p, "introduced": p.get("introduced", "10.0")}
        if "readonly" not in p.get("attributes", ()):
            setter = f"set{p['name'][0].upper()}{p['name'][1:]}:"
            found[setter] = {
                "args": [p],
                "retval": {"typestr": "v"},
                "introduced": p.get("introduced", "10.0"),
            }
    for m in both[kind].get("methods", ()):
        found[m["selector"]] = m
    return found


def constant(name: str) -> int:
    """The value of an enumeration's member. Raises AttributeError."""
    try:
        return int(definitions()["enum"][name]["value"])
    except KeyError:
        raise AttributeError(f"Metal has no {name}") from None
