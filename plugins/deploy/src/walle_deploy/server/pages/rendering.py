"""Templates, with everything in them escaped, and the files that pages refer to."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import escape

from walle_deploy.server.pages import curve, words
from walle_deploy.server.pages.plans import gate_words

_STATIC = resources.files("walle_deploy.server.pages").joinpath("static")
TEXT = 2000  # characters of a value from outside that a page shows


@cache
def environment() -> jinja2.Environment:
    """The templates of this package; a name that a template misses is an error, not an empty text."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("walle_deploy.server.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=_shown,
    )
    for function in (
        words.count, words.share, words.size, words.money, words.number, words.span, words.moment, words.machine, words.ago, words.brief,
        gate_words,
    ):  # fmt: skip
        made.filters[function.__name__] = function
    made.filters["urlencode_all"] = lambda text: quote(str(text), safe="")
    made.filters["whole"] = lambda text: escape(_clean(text))  # what goes back to the server must not be cut
    made.globals.update(asset=asset, legend=curve.legend)
    return made


def _shown(value: Any) -> Any:
    """Control characters and halves of surrogate pairs, which HTML cannot have, as a sign; texts without end cut."""
    if type(value) is not str:
        return value
    return _clean(value if len(value) <= TEXT else value[:TEXT] + "…")


def _clean(text: str) -> str:
    return (
        text
        if text.isprintable()
        else "".join(sign if sign in "\n\r\t" or _fits(sign) else "\ufffd" for sign in text)
    )


def _fits(sign: str) -> bool:
    """Not so: controls, surrogates, and signs that turn the direction of what follows them."""
    return not (ord(sign) < 32 or 0x7F <= ord(sign) < 0xA0 or 0xD800 <= ord(sign) < 0xE000 or sign in _TURNS)


_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def render(template: str, values: Mapping[str, Any]) -> str:
    """One page."""
    return environment().get_template(template).render(values)


@cache
def static(name: str) -> tuple[bytes, str] | None:
    """The bytes and the type of a file that pages refer to; None if there is none."""
    found = {one.name: one for one in _STATIC.iterdir()}.get(name)
    if found is None:
        return None
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return found.read_bytes(), "text/javascript" if name.endswith(".js") else kind


@cache
def asset(name: str) -> str:
    """The path of such a file, another one whenever its content is another."""
    found = static(name)
    assert found is not None, name
    return f"static/{hashlib.sha256(found[0]).hexdigest()[:12]}/{name}"
