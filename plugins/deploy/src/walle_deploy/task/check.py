"""Proves that a task's parts fit: script, models, trigger, schema, dictionary and limits, before anyone releases it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import zstandard

from walle_deploy.errors import TaskError
from walle_deploy.task.config import FILE, TaskConfig, find_problems
from walle_deploy.task.dryrun import START_S, dry_run
from walle_deploy.task.findings import ERROR, NOTE, WARNING, Finding
from walle_deploy.task.models import check_models
from walle_deploy.task.script import check_scripts
from walle_deploy.task.tree import check_content, check_paths
from walle_deploy.task.trigger import Occurrence, compile_trigger

LARGE = 64 << 20  # bytes of a task that a device should not have to fetch
MAX_DICTIONARY = 1 << 20  # bytes
KINDS = ("*", "page_enter", "page_exit", "scroll", "exposure", "click")
_FORM = b"WDIC\x01"  # what `walle pipeline dict train` writes before a SHA-256 and the dictionary


def check(
    files: Mapping[str, bytes], *, name: str | None = None, run: bool = True, start_s: float = START_S
) -> list[Finding]:
    """Everything that is wrong with a task's files, and what its dry run took.

    Args:
        files: path -> content.
        name: what the task must be called.
        run: also import the script and call it once, in a process of its own; left out where errors were found before.
        start_s: how long that process may take to start.
    """
    found = list(_check_files(files))
    if FILE not in files:
        return [*found, Finding(ERROR, FILE, "is missing", "`walle task init NAME` writes an example")]
    config, problems = find_problems(files[FILE])
    found += [Finding(ERROR, f"{FILE}, {p.path}" if p.path else FILE, p.text) for p in problems]
    if config is None:
        return found
    if name is not None and config.task.name != name:
        found.append(
            Finding(
                ERROR,
                f"{FILE}, task.name",
                f"is {config.task.name!r} on the branch task/{name}",
                f"write {name!r}",
            )
        )
    found += [*_check_trigger(config), *check_scripts(files, config), *_check_dictionary(files, config)]
    found += _check_exclusive(files, config)
    if any(f.level == ERROR and f.where != f"{FILE}, trigger" for f in found):
        run = False
    with tempfile.TemporaryDirectory(prefix="walle-task-") as made:
        folder = Path(made).resolve()
        try:
            _write(files, folder)
        except (TaskError, OSError):
            return found  # `_check_files` has said why
        found += check_models(files, config, folder)
        if run and not any(f.level == ERROR for f in found):
            found += dry_run(files, config, folder, start_s)
    return found


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    check_paths(files)
    for path, data in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def _check_files(files: Mapping[str, bytes]) -> Iterator[Finding]:
    try:
        check_paths(files)
    except TaskError as error:
        yield Finding(ERROR, "files", str(error))
    for path, data in files.items():
        try:
            check_content(path, data)
        except TaskError as error:
            yield Finding(ERROR, path, str(error))
    size = sum(map(len, files.values()))
    if size > LARGE:
        yield Finding(
            WARNING,
            "files",
            f"the task has {size >> 20} MB, which every device fetches",
            "use smaller models",
        )


def _check_trigger(config: TaskConfig) -> Iterator[Finding]:
    try:
        compile_trigger(config.trigger)
    except TaskError as error:
        yield Finding(ERROR, f"{FILE}, trigger", str(error))
    for pattern in config.trigger.patterns:
        events: list[Occurrence] = [*pattern.steps, *(f for step in pattern.steps for f in step.not_before)]
        for kind in sorted({e.kind for e in events if e.kind not in KINDS}):
            yield Finding(NOTE, f"{FILE}, trigger", f"the application must define the kind of event {kind!r}")


def _check_exclusive(files: Mapping[str, bytes], config: TaskConfig) -> Iterator[Finding]:
    for number, pattern in enumerate(config.task.exclusive):
        if not any(fnmatchcase(path, pattern) for path in files):
            where, what = f"{FILE}, task.exclusive[{number}]", f"{pattern!r} fits no file"
            yield Finding(WARNING, where, what, "correct the pattern, or those files will be for all devices")


def _check_dictionary(files: Mapping[str, bytes], config: TaskConfig) -> Iterator[Finding]:
    if config.dictionary is None:
        return
    path = config.dictionary.file
    fix = "train one with `walle pipeline dict train`"
    if path not in files:
        yield Finding(ERROR, f"{FILE}, dictionary.file", f"there is no file {path!r}", fix)
        return
    data = files[path]
    if data.startswith(_FORM):
        body = data[len(_FORM) + 32 :]
        if hashlib.sha256(body).digest() != data[len(_FORM) : len(_FORM) + 32]:
            yield Finding(ERROR, path, "the dictionary is damaged (checksum differs)", fix)
            return
        data = body
    try:
        number = zstandard.ZstdCompressionDict(data, dict_type=zstandard.DICT_TYPE_FULLDICT).dict_id()
        zstandard.ZstdCompressor(dict_data=zstandard.ZstdCompressionDict(data)).compress(b"x")
    except (zstandard.ZstdError, ValueError) as error:
        yield Finding(ERROR, path, f"is no zstd dictionary: {error}", fix)
        return
    if not number or not data.startswith(b"\x37\xa4\x30\xec"):
        yield Finding(ERROR, path, "is no zstd dictionary", fix)
    if len(data) > MAX_DICTIONARY:
        yield Finding(
            ERROR, path, f"has {len(data)} bytes; at most {MAX_DICTIONARY} are allowed", "train a smaller one"
        )
