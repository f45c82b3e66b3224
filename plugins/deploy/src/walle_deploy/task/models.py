"""Compares what a model file takes and makes with the signature that walle.toml declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from walle_core.errors import WalleError
from walle_deploy.task.config import TaskConfig
from walle_deploy.task.findings import ERROR, NOTE, WARNING, Finding
from walle_deploy.task.values import Value


def check_models(files: Mapping[str, bytes], config: TaskConfig, folder: Path) -> Iterator[Finding]:
    """All findings of all models; the files lie in `folder` too."""
    from walle_core import load

    for name, model in config.model.items():
        where = f"walle.toml, model.{name}"
        if model.file not in files:
            yield Finding(
                ERROR, f"{where}.file", f"there is no file {model.file!r}", "add it, or correct the path"
            )
            continue
        try:
            graph = load(folder / model.file)
        except WalleError as error:
            text = str(error).replace(f"{folder}/", "")
            yield Finding(ERROR, model.file, f"cannot be loaded: {text}", "export the model again")
            continue
        sizes: dict[str, str] = {}
        for side, declared, names in (
            ("inputs", model.inputs, graph.inputs),
            ("outputs", model.outputs, graph.outputs),
        ):
            for value in [n for n in declared if n not in names]:
                fix = f"it has {', '.join(names)}"
                yield Finding(ERROR, f"{where}.{side}.{value}", f"{model.file} has no such {side[:-1]}", fix)
            for value in names:
                yield from _compare(
                    f"{where}.{side}.{value}", declared.get(value), graph.specs.get(value), sizes
                )
    used = {model.file for model in config.model.values()}
    for path in files:
        if path.endswith((".walle", ".onnx")) and path not in used:
            yield Finding(
                WARNING, path, "is a model that walle.toml does not declare", "declare it, or remove the file"
            )


def _compare(where: str, declared: Value | None, spec: Any, sizes: dict[str, str]) -> Iterator[Finding]:
    form = "" if spec is None or spec.shape is None else f"write {_form(spec)}"
    if declared is None:
        yield Finding(ERROR, where, "is not declared", form)
    elif spec is None or spec.shape is None:
        yield Finding(NOTE, where, "the model file does not say its shape; only the dry run shows it")
    elif declared.dtype != spec.dtype.name or not _fits(declared.shape or [], spec.shape, sizes):
        yield Finding(ERROR, where, f"declared as {declared}, but the model has {spec}", form)


def _fits(declared: list[int | str], shape: tuple[int | str, ...], sizes: dict[str, str]) -> bool:
    """Whether fixed sizes are equal, and those that vary do in both, by one name here for one there."""
    if len(declared) != len(shape):
        return False
    for here, there in zip(declared, shape, strict=True):
        if isinstance(here, str) and isinstance(there, str):
            if sizes.setdefault(here, there) != there:
                return False
        elif here != there:
            return False
    return True


def _form(spec: Any) -> str:
    dims = ", ".join(str(d) if isinstance(d, int) else f'"{d}"' for d in spec.shape)
    return f'{{ dtype = "{spec.dtype.name}", shape = [{dims}] }}'
