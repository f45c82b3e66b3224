"""Reads a task's scripts without running them: that they compile, import only what is there, and define the entry."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from walle_deploy.task.config import RESERVED_INPUTS, TaskConfig
from walle_deploy.task.findings import ERROR, WARNING, Finding

MAX_SCRIPT = 1 << 20  # bytes
STANDARD = frozenset(
    [
        "__future__",
        "abc",
        "array",
        "base64",
        "binascii",
        "bisect",
        "calendar",
        "cmath",
        "collections",
        "colorsys",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "difflib",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "itertools",
        "json",
        "logging",
        "math",
        "numbers",
        "operator",
        "random",
        "re",
        "statistics",
        "string",
        "struct",
        "textwrap",
        "time",
        "traceback",
        "types",
        "typing",
        "unicodedata",
        "uuid",
        "warnings",
        "zlib",
        "zoneinfo",
    ]
)
_CALLS = ("eval", "exec", "compile", "__import__", "breakpoint", "input")
_INSIDES = ("__subclasses__", "__globals__", "__builtins__", "__loader__", "__code__", "__bases__", "__mro__")


def check_scripts(files: Mapping[str, bytes], config: TaskConfig) -> Iterator[Finding]:
    """All findings of all ``.py`` files."""
    if config.task.script not in files:
        fix = "write it, or name another file"
        yield Finding(ERROR, "walle.toml, task.script", f"there is no file {config.task.script!r}", fix)
    allowed = {*STANDARD, "walle_core", *config.task.modules, *(["numpy"] if config.task.numpy else [])}
    allowed |= {PurePosixPath(path).parts[0].removesuffix(".py") for path in files if path.endswith(".py")}
    for path, data in files.items():
        if not path.endswith(".py"):
            continue
        if len(data) > MAX_SCRIPT:
            yield Finding(
                ERROR, path, f"has {len(data)} bytes; at most {MAX_SCRIPT} are allowed", "move data out of it"
            )
            continue
        try:
            tree = ast.parse(data, path)
            compile(tree, path, "exec", dont_inherit=True)
        except SyntaxError as error:
            yield Finding(
                ERROR,
                f"{path}:{error.lineno or 1}",
                f"no Python: {error.msg}",
                (error.text or "").strip()[:80],
            )
            continue
        except (ValueError, RecursionError, MemoryError, OverflowError) as error:
            yield Finding(ERROR, path, f"cannot be compiled: {type(error).__name__}: {error}")
            continue
        yield from _check_body(path, tree, allowed)
        if path == config.task.script:
            yield from _check_entry(path, tree, config)


def _check_body(path: str, tree: ast.Module, allowed: set[str]) -> Iterator[Finding]:
    for node in ast.walk(tree):
        where = f"{path}:{getattr(node, 'lineno', 1)}"
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] not in allowed:
                yield Finding(
                    ERROR, where, f"imports {name!r}, which a device need not have", _import_fix(name)
                )
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
            yield Finding(
                ERROR, where, f"calls {node.func.id}()", "a task is what was released, no more; remove it"
            )
        if isinstance(node, ast.Attribute) and node.attr in _INSIDES:
            yield Finding(ERROR, where, f"reaches into the interpreter by {node.attr}", "remove it")


def _import_fix(name: str) -> str:
    top = name.split(".", maxsplit=1)[0]
    if top == "numpy":
        return "set numpy = true under [task], or use walle_core.Tensor"
    return f'use another module, or, if every device has it, list it: [task] modules = ["{top}"]'


def _check_entry(path: str, tree: ast.Module, config: TaskConfig) -> Iterator[Finding]:
    name = config.task.entry
    found = [
        n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)) and n.name == name
    ]
    wanted = [*config.inputs, *(RESERVED_INPUTS if config.model else ())]
    form = f"def {name}({', '.join(wanted)}):"
    if not found:
        yield Finding(ERROR, path, f"defines no function {name!r} at its top level", f"write {form}")
        return
    entry = found[-1]
    where = f"{path}:{entry.lineno}"
    if isinstance(entry, ast.AsyncFunctionDef):
        yield Finding(ERROR, where, f"{name} is async", f"write {form}")
    given = entry.args
    if given.posonlyargs or given.vararg:
        yield Finding(
            ERROR,
            where,
            f"{name} is called by names; it may have no '/' and no '*arguments'",
            f"write {form}",
        )
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    late = [a.arg for a, d in zip(given.kwonlyargs, given.kw_defaults, strict=True) if d is not None]
    optional = {*(a.arg for a in given.args[len(given.args) - len(given.defaults) :]), *late}
    for missing in [n for n in config.inputs if n not in names and not given.kwarg]:
        yield Finding(ERROR, where, f"{name} does not take the input {missing!r}", f"write {form}")
    for extra in [
        n for n in names if n not in config.inputs and n not in RESERVED_INPUTS and n not in optional
    ]:
        yield Finding(
            ERROR,
            where,
            f"{name} wants {extra!r}, which is no input",
            f"declare it under [inputs], or write {form}",
        )
    if config.model and "models" not in names and not given.kwarg:
        yield Finding(WARNING, where, f"{name} does not take the models", f"write {form}")
