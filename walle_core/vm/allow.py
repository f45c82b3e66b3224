"""Which modules a task may import: the lists, and the check of a source when it is compiled. `guest` asks again at each import.

The list keeps honest tasks small and portable. It is no boundary against code written to break out: `sandbox` is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import attrs

from walle_core.vm.errors import PolicyError
from walle_core.vm.types import Policy

DEFAULT = frozenset(
    """__future__ abc array base64 binascii bisect calendar cmath collections colorsys contextlib copy dataclasses datetime
    decimal difflib enum fractions functools hashlib heapq hmac itertools json logging math numbers operator random re statistics
    string struct textwrap time traceback types typing unicodedata uuid warnings zlib zoneinfo walle_core""".split()
)
_CORE = frozenset(  # of walle_core: what computes; not what opens processes, reads caches or loads plugins
    """matrix cv audio text Tensor Session Module Graph Builder Node load load_bytes errors types InputError ModelError ShapeError
    UnsupportedError WalleError BackendError DeviceError DeviceLostError DeviceMemoryError CacheError shared_model""".split()
)
_FILES = frozenset({"io", "os", "pathlib", "shutil", "tempfile", "glob", "csv"})  # with a grant of files
_NETWORK = frozenset({"socket", "ssl", "select", "urllib", "http"})  # with a grant of the network
REFUSED_CALLS = ("eval", "exec", "compile", "__import__", "breakpoint", "input", "globals", "vars", "locals")
INSIDES = frozenset(
    """__subclasses__ __globals__ __builtins__ __loader__ __spec__ __code__ __bases__ __mro__ __closure__ f_globals f_builtins
    f_back gi_frame cr_frame tb_frame""".split()
)


@attrs.frozen
class Refused:
    """Something in a source that its policy does not grant: the line, what it is, and what to do."""

    line: int
    what: str
    fix: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}; {self.fix}"


def _refused(text: str) -> PolicyError:
    return PolicyError("PolicyError", text)


def granted(policy: Policy) -> frozenset[str]:
    """Names of top-level modules that a task under `policy` may import."""
    names = DEFAULT if policy.imports is None else policy.imports | {"__future__"}
    if policy.read or policy.write:
        names |= _FILES
    if policy.network:
        names |= _NETWORK
    if policy.numpy:
        names |= {"numpy"}
    return frozenset(names)


def allowed(name: str, names: frozenset[str]) -> bool:
    """Whether the dotted module `name` may be imported: `names` has its top level; of walle_core, a module that computes or `name`."""
    top, _, rest = name.partition(".")
    if top == "walle_core" and rest and name not in names:
        return top in names and rest.partition(".")[0] in _CORE
    return top in names or name in names


def check_source(
    source: str | bytes, policy: Policy, *, name: str = "<task>", modules: frozenset[str] = frozenset()
) -> list[Refused]:
    """All that `policy` does not grant in a source, in the order of its lines.

    Args:
        source: Python text.
        policy: grants.
        name: what to call it in messages.
        modules: other modules of the same package, which it may import.

    Raises:
        PolicyError: the source is no Python, or nested too deeply to be read.
    """
    try:
        tree = ast.parse(source, name)
        found = sorted(_walk(tree, granted(policy), policy, modules), key=lambda r: r.line)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(f"{name} is no Python that can be compiled: {error}; correct it") from error
    return list(dict.fromkeys(found))


def _walk(tree: ast.AST, names: frozenset[str], policy: Policy, modules: frozenset[str]) -> Iterator[Refused]:
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 1)
        for module in _imported(node):
            if module not in modules and not allowed(module, names):
                yield Refused(line, f"imports {module!r}, which the policy does not grant", _fix(module))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in REFUSED_CALLS:
                yield Refused(
                    line, f"calls {node.func.id}()", "a task is what was released, no more; remove it"
                )
            if node.func.id == "open" and not (policy.read or policy.write):
                yield Refused(line, "calls open()", "grant the files: Policy(read=..., write=...)")
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in INSIDES:
            yield Refused(line, f"reaches into the interpreter by {name}", "remove it")


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    if node.level:
        return ["." * node.level + (node.module or "")]
    module = node.module or ""
    if module == "walle_core":  # each name may be a module
        return [f"walle_core.{alias.name}" for alias in node.names]
    return [module]


def _fix(module: str) -> str:
    top = module.partition(".")[0]
    if not top:
        return "import modules of the package by their names, without dots"
    if top == "numpy":
        return "use walle_core.matrix, or Policy(numpy=True), which needs a process"
    if top in _FILES:
        return "grant files: Policy(read=..., write=...)"
    if top in _NETWORK:
        return "grant it: Policy(network=True)"
    return f"use another, or Policy(imports=allow.DEFAULT | {{{top!r}}})"
