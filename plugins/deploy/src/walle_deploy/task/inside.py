"""What runs inside the process of a task: models, limits, inputs, the entry, and what is wrong with its result."""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from typing import Any

SLACK_MB = 64


def models(request: Any) -> dict[str, Any]:
    """Name -> Session."""
    from walle_core import Session

    return {
        name: Session(file, backend=request["backends"] or None) for name, file in request["models"].items()
    }


def inputs_of(request: Any) -> tuple[dict[str, Any], dict[str, int]]:
    """The sample, or zeros; sizes that may vary are 2 where no sample says otherwise."""
    from walle_core import Tensor

    sizes: dict[str, int] = {}
    made: dict[str, Any] = {}
    for name, spec in request["inputs"].items():
        given = request["sample"].get(name)
        if spec.get("shape") is None:
            made[name] = (
                given if name in request["sample"] else request["events"] if spec["dtype"] == "events" else {}
            )
        elif given is None:
            made[name] = None
        else:
            made[name] = tensor = Tensor.of(given, spec["dtype"])
            if problem := _shape_problem(tensor.shape, spec["shape"], sizes):
                raise ValueError(f"the sample of the input {name!r}: {problem}")
    for name, spec in request["inputs"].items():
        if spec.get("shape") is not None and made[name] is None:
            shape = [d if isinstance(d, int) else sizes.setdefault(d, 2) for d in spec["shape"]]
            made[name] = Tensor(shape, spec["dtype"])
    return made, sizes


def confine(memory_mb: int) -> None:
    """From now on: so much memory beyond what is in use, no files, no other processes, no processor time without end."""
    sys.addaudithook(_refuse)
    try:
        import resource
        import signal
    except ImportError:
        return
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = _status("VmData")
    if used:
        # The hard limit also counts stacks of the runtime's threads, which nobody touches; the exact one is checked
        # afterwards.
        most = used + (memory_mb + SLACK_MB << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def processor_time(seconds: float) -> None:
    """The process ends when it has used so many more seconds of processor time; a later call gives it others."""
    try:
        import resource
    except ImportError:
        return
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    until = int(time.process_time() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until, most))


def peak() -> int:
    """The most bytes of memory that the process has held."""
    # Linux hands ru_maxrss on from the process that started this one.
    if (found := _status("VmHWM")) or sys.platform == "linux":
        return found
    try:
        import resource
    except ImportError:
        return 0
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used if sys.platform == "darwin" else used << 10


def _status(name: str) -> int:
    """Bytes that Linux tells of this process; 0 elsewhere."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name)) << 10
    except (OSError, StopIteration):
        return 0


_STARTS = ("exec", "fork", "forkpty", "kill", "killpg", "posix_spawn", "spawn", "startfile", "system")
_PROCESSES = frozenset({"pty.spawn", "subprocess.Popen", *(f"os.{name}" for name in _STARTS)})
_EDITS = ("chmod", "chown", "link", "mkdir", "remove", "rename", "rmdir", "symlink", "truncate", "utime")
_CHANGES = frozenset({"shutil.rmtree", *(f"os.{name}" for name in _EDITS)})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: mistakes of a script are errors of its own. What means harm is stopped by the limits only."""
    if event in _PROCESSES:
        raise PermissionError(errno.EPERM, f"a task may not start or end processes ({event})")
    if event in _CHANGES or (
        event == "open" and arguments[2] & _WRITES and os.fspath(arguments[0]) != os.devnull
    ):
        raise PermissionError(errno.EROFS, f"a task may not change files ({event})", str(arguments[0]))


def entry_of(request: Any) -> Any:
    """The entry function, of the script that this runs."""
    import types

    with open(request["script"], "rb") as file:
        code = compile(file.read(), request["script"], "exec", dont_inherit=True)
    module = types.ModuleType("walle_task")
    module.__file__ = request["script"]
    sys.modules["walle_task"] = module
    exec(code, module.__dict__)  # noqa: S102  it is what this process is for
    return getattr(module, request["entry"])


def text_of(error: BaseException) -> str:
    """What an error of a script says; it may fail at that too."""
    try:
        return f"{type(error).__name__}: {error}"[:500]
    except BaseException:
        return type(error).__name__


def line_of(error: BaseException, request: Any) -> str:
    """Where in the task's own files it was raised; "" if outside of them."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        path = os.path.relpath(trace.tb_frame.f_code.co_filename, request["folder"])
        if not path.startswith("..") and os.path.isfile(path):  # noqa: PTH113  a script may break pathlib
            found = f"{path}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def wrong_in(request: Any, result: Any, sizes: dict[str, int]) -> Any:
    """(where, what) of everything that is not as declared."""
    if not isinstance(result, dict):
        names = ", ".join(f'"{n}": …' for n in request["outputs"])
        yield "", f"the entry returned {type(result).__name__}; wanted a dict {{{names}}}"
        return
    for name, spec in request["outputs"].items():
        if name not in result:
            yield f"outputs.{name}", "the entry did not return it"
        elif spec.get("shape") is None:
            try:
                json.dumps(result[name])
            except (TypeError, ValueError, RecursionError) as error:
                yield f"outputs.{name}", f"is no plain value: {error}"
        elif problem := _value_problem(result[name], spec, sizes):
            yield f"outputs.{name}", problem
    for name in result:
        if name not in request["outputs"] and name not in ("features", "confident"):
            yield f"outputs.{name}", "was returned, but is not declared"
    if not isinstance(result.get("confident", True), bool):
        yield "outputs", f"'confident' is {type(result['confident']).__name__}; wanted True or False"
    yield from _wrong_features(request["features"], result.get("features"))


def _wrong_features(declared: dict[str, str], found: Any) -> Any:
    kinds = {
        "int": int,
        "float": (int, float),
        "text": str,
        "bool": bool,
        "bytes": bytes,
        "list": list,
        "table": dict,
    }
    if found is None:
        if declared:
            yield "features", "the entry did not return 'features', a dict of them"
        return
    if not isinstance(found, dict):
        yield "features", f"'features' is {type(found).__name__}; wanted a dict"
        return
    for name, kind in declared.items():
        if name not in found:
            yield f"features.{name}", "is missing in what the entry returned"
        elif not isinstance(found[name], kinds[kind]) or (kind != "bool" and isinstance(found[name], bool)):  # type: ignore[arg-type]
            yield f"features.{name}", f"wanted {kind}, but the entry returned {type(found[name]).__name__}"
    for name in found:
        if name not in declared:
            yield f"features.{name}", "was returned, but is not declared"


def _value_problem(value: Any, spec: Any, sizes: dict[str, int]) -> str:
    from walle_core import Tensor

    tensor: Any = value
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        try:
            tensor = Tensor.of(value, spec["dtype"])
        except Exception as error:
            return f"is no tensor: {error}"
    if str(tensor.dtype) != spec["dtype"]:
        return f"is {tensor.dtype}; {spec['dtype']} is declared"
    return _shape_problem(tensor.shape, spec["shape"], sizes)


def _shape_problem(shape: Any, wanted: Any, sizes: dict[str, int]) -> str:
    fits = len(shape) == len(wanted) and all(
        s == (w if isinstance(w, int) else sizes.setdefault(w, s))
        for s, w in zip(shape, wanted, strict=False)
    )
    known = {w: sizes[w] for w in wanted if w in sizes}
    return (
        ""
        if fits
        else f"has the shape {list(shape)}; {wanted} is declared" + (f", with {known}" if known else "")
    )
