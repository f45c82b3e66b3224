"""What runs beside the tasks, inside their interpreter or process: loads, switches and describes them.

Each task has a namespace and built-ins of its own. Tasks of one interpreter share its imported modules, so what a task
changes in a module's namespace, in `os.environ`, in the state of `random` or in logging is kept as the task's own: put aside
when another task comes, put back when it returns.

An interpreter executes this module's code without importing it or the package, as tasks that need no tensors must not
pay for these; it therefore imports nothing but `sys` and `builtins` until something else is needed.
"""

from __future__ import annotations

import builtins
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# C modules that abort or do not load in interpreters with a GIL of their own on Python 3.12 and 3.13. The standard
# library has the same in Python for some; the others cannot be had there.
BLOCKED = (
    "_asyncio", "_ctypes", "_curses", "_datetime", "_decimal", "_hashlib", "_sqlite3", "_ssl", "_statistics", "readline",
)  # fmt: skip


WITHHELD = frozenset(
    {
        "eval",
        "exec",
        "compile",
        "breakpoint",
        "input",
        "exit",
        "quit",
        "help",
        "copyright",
        "credits",
        "license",
    }
)


class TaskStopped(BaseException):
    """Raised in a run that is to stop."""


class OutputLimit(BaseException):
    """Raised in a run that printed more than it may."""


class PolicyError(PermissionError):
    """Raised in a task that wants what its policy does not grant."""


class Sink:
    """The standard output and error of the tasks."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, lines: list[str], limit: list[int]) -> None:
        self.lines, self.limit, self.used = lines, limit, 0

    def write(self, text: str) -> int:
        """Keeps `text`. Raises OutputLimit when that is too much."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes str, not {type(text).__name__}")
        if not self.lines:
            self.used = 0
        self.used += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if self.used > self.limit[0]:
            raise OutputLimit(f"more than {self.limit[0]} bytes of output")
        if text:
            self.lines.append(text)
        return len(text)

    def flush(self) -> None:
        """Does nothing."""

    def isatty(self) -> bool:
        """No."""
        return False

    def writable(self) -> bool:
        """Yes."""
        return True


class Loaded:
    """A task's own state while another one runs."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.modules: dict[tuple[int, str], tuple[dict[str, Any], str, Any]] = {}
        self.environ: dict[Any, Any] | None = None
        self.random: Any = None
        self.logging: tuple[Any, ...] | None = None


class Guest:
    """The tasks of one interpreter or process.

    Args:
        settings: ``path``: `sys.path`; ``blocked``: names of modules that are not to be imported; ``redirect``: whether
            the standard streams are the tasks' alone.
        watch: called once with each module's namespace that is to be journalled, or None.
        journal: where changes of these arrive, as {(id, name): (namespace, name, what it held or Ellipsis)}.
    """

    def __init__(self, settings: dict[str, Any], watch: Any = None, journal: Any = None) -> None:
        self.entries: list[Any] = []
        self.loaded: list[Loaded | None] = []
        self.lines: list[str] = []
        self.limit = [1 << 20]
        self.sink = Sink(self.lines, self.limit)
        self.watch, self.journal = watch, journal if journal is not None else {}
        self.watched: dict[str, Any] = {}
        self.current = -1
        self.amid = False
        self.home: dict[Any, Any] | None = None
        self.import_ = builtins.__import__
        self.open_ = builtins.open
        modules: dict[str, Any] = sys.modules
        for name in settings.get("blocked", ()):
            modules[name] = None
        if "path" in settings:
            sys.path[:] = settings["path"]
        if settings.get("redirect", True):
            for name in ("stdout", "stderr", "__stdout__", "__stderr__"):
                setattr(sys, name, self.sink)
            for name in ("stdin", "__stdin__"):
                setattr(sys, name, None)
            self.keep_environment()
        self.watch_new()

    def keep_environment(self) -> None:
        """Changes of `os.environ` no longer reach the process."""
        os: Any = sys.modules.get("os") or self.import_("os")
        os.putenv = lambda key, value: None
        os.unsetenv = lambda key: None
        self.home = dict(os.environ._data)

    def watch_new(self) -> None:
        """Journals the modules that were imported since."""
        if self.watch is None or len(sys.modules) == len(self.watched):
            return
        for name, module in list(sys.modules.items()):
            if self.watched.get(name, self) is not module:
                self.watched[name] = module
                space = getattr(module, "__dict__", None)
                if type(space) is dict:
                    self.watch(space)

    def load(self, name: str, code: Any, entry: str, grants: dict[str, Any], seed: int | None) -> int:
        """Executes a task's module; the number of its entry.

        Args:
            code: its source, or its compiled module.
            grants: ``imports``: modules that it may import; ``core``: those of walle_core; ``read``, ``write``: paths;
                ``modules``: further modules of its package, compiled or as source.
        """
        if "random" in sys.modules:
            sys.modules["random"].seed(seed)
        elif seed is not None:
            self.import_("random").seed(seed)
        space: dict[str, Any] = {
            "__name__": name,
            "__builtins__": self.builtins(grants),
            "__file__": f"<task {name}>",
        }
        loaded = Loaded(name)
        if isinstance(code, str):
            code = compile(code, f"<task {name}>", "exec", dont_inherit=True)
        exec(code, space)  # noqa: S102  this is what a task is for
        found = space.get(entry)
        if not callable(found):
            raise TypeError(f"task {name} defines no function {entry}")
        for index, old in enumerate(self.loaded):
            if old is None:
                self.entries[index], self.loaded[index] = found, loaded
                break
        else:
            index = len(self.entries)
            self.entries.append(found)
            self.loaded.append(loaded)
        self.current = index
        return index

    def builtins(self, grants: dict[str, Any]) -> dict[str, Any]:
        """The built-ins of one task: imports and files as far as they are granted."""
        allowed, core = frozenset(grants["imports"]), frozenset(grants["core"])
        modules, made = grants.get("modules", {}), {}
        own = {k: v for k, v in builtins.__dict__.items() if k not in WITHHELD}

        def package_module(name: str) -> Any:
            if name not in made:
                made[name] = type(sys)(name)
                made[name].__dict__["__builtins__"] = own
                exec(modules[name], made[name].__dict__)  # noqa: S102  the package's own code
            return made[name]

        def granted(name: str, space: Any = None, local: Any = None, names: Any = (), level: int = 0) -> Any:
            if name in modules and not level:
                return package_module(name)
            top, _, rest = name.partition(".")
            parts = [rest] if rest else list(names or ())
            inside = top == "walle_core" and name not in allowed
            if (
                level
                or top not in allowed
                or (inside and any(part.partition(".")[0] not in core for part in parts))
            ):
                raise PolicyError(f"import of {name!r} is not granted; add it to Policy(imports=...)")
            found = self.import_(name, space, local, names, level)
            self.watch_new()
            return found

        def opened(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            writes = any(c in mode for c in "wax+")
            if not within(
                file,
                grants.get("write", ()) if writes else (*grants.get("read", ()), *grants.get("write", ())),
            ):
                raise PolicyError(
                    f"{'writing' if writes else 'reading'} {file!r} is not granted; add it to Policy({'write' if writes else 'read'}=...)"
                )
            return self.open_(file, mode, *rest, **named)

        own["__import__"], own["open"] = granted, opened
        if sys.stdout is not self.sink:
            own["print"] = lambda *a, file=None, **k: builtins.print(*a, file=file or self.sink, **k)
        return own

    def switch(self, index: int) -> None:
        """Puts the state of the current task aside and that of another one, or of none (-1), in place."""
        if 0 <= self.current < len(self.loaded) and self.loaded[self.current] is not None:
            self.put_aside(self.loaded[self.current])
        else:
            self.put_aside(None)
        self.current = index
        if index >= 0 and self.loaded[index] is not None:
            self.put_back(self.loaded[index])

    def put_aside(self, loaded: Any) -> None:
        """Modules as they were before the task, its own changes kept in `loaded` (None: dropped)."""
        overlay: dict[Any, Any] = {} if loaded is None else loaded.modules
        for key, (space, name, old) in list(self.journal.items()):
            now = space.get(name, ...)
            child = sys.modules.get(f"{space.get('__name__')}.{name}", self)
            if now is child or (name == "stdout" and now is self.sink):
                continue  # a submodule: it is its package's attribute for everyone
            overlay[key] = (space, name, now)
            restore(space, name, old)
        self.journal.clear()
        if self.home is not None:
            data = sys.modules["os"].environ._data
            if data != self.home:
                if loaded is not None:
                    loaded.environ = dict(data)
                data.clear()
                data.update(self.home)
            elif loaded is not None:
                loaded.environ = None
        if loaded is not None and "random" in sys.modules:
            version, words, gauss = sys.modules["random"].getstate()
            loaded.random = (
                version,
                self.import_("array").array("L", words),
                gauss,
            )  # a tenth of the tuple's size
        if "logging" in sys.modules:
            logging: Any = sys.modules["logging"]
            root, known = logging.root, logging.Logger.manager.loggerDict
            if loaded is not None:
                loaded.logging = (
                    root.handlers[:],
                    root.level,
                    root.filters[:],
                    root.disabled,
                    dict(known),
                    logging.Logger.manager.disable,
                )
            set_logging(logging, ([], logging.WARNING, [], False, {}, 0))

    def put_back(self, loaded: Any) -> None:
        """The opposite for a task that comes again."""
        for key, (space, name, own) in loaded.modules.items():
            self.journal[key] = (space, name, space.get(name, ...))
            restore(space, name, own)
        loaded.modules = {}
        if loaded.environ is not None:
            data = sys.modules["os"].environ._data
            data.clear()
            data.update(loaded.environ)
        if loaded.random is not None:
            version, packed, gauss = loaded.random
            sys.modules["random"].setstate((version, tuple(packed), gauss))
        if loaded.logging is not None:
            set_logging(sys.modules["logging"], loaded.logging)

    def forget(self, index: int) -> None:
        """Unloads a task."""
        if self.current == index:
            self.put_aside(None)
            self.current = -1
        self.entries[index] = self.loaded[index] = None

    def drain(self) -> str:
        """What was printed since."""
        text = "".join(self.lines)
        self.lines.clear()
        return text

    def describe(self, error: Any) -> tuple[str, str, str, str]:
        """(kind, type, text, traceback) of an exception that ended a run; kind is an `Outcome`'s value or ``stopped``."""
        kinds = (
            (TaskStopped, "stopped"),
            (OutputLimit, "output"),
            (PolicyError, "refused"),
            (MemoryError, "memory"),
            (SystemExit, "exit"),
        )
        kind = next((k for c, k in kinds if isinstance(error, c)), "error")
        text = str(error.code) if isinstance(error, SystemExit) else str(error)
        frames: list[str] = []
        trace = error.__traceback__
        while trace is not None:
            code = trace.tb_frame.f_code
            if kind in ("stopped", "memory", "output") and (
                code.co_filename.startswith("<frozen importlib")
                or (code.co_name == "<module>" and not code.co_filename.startswith("<task "))
            ):
                self.amid = True
            if "/vm/guest.py" not in code.co_filename:
                frames.append(f'  File "{code.co_filename}", line {trace.tb_lineno}, in {code.co_name}\n')
            trace = trace.tb_next
        if len(frames) > 40:
            frames[20:-20] = [f"  … {len(frames) - 40} frames …\n"]
        return kind, type(error).__name__, text[:10_000], "".join(frames)

    def torn(self) -> bool:
        """Whether the run that was described last was stopped amid an import: a module of which parts are loaded and parts are not
        cannot be imported again, and what is compiled cannot be loaded a second time.
        """
        amid, self.amid = self.amid, False
        return amid or any(
            "." in name and name.rpartition(".")[0] not in sys.modules for name in list(sys.modules)
        )

    def tidy(self) -> None:
        """Frees what a run left behind that ran out of memory."""
        self.import_("gc").collect()

    def run(self, index: int, inputs: dict[str, Any], output_bytes: int) -> tuple[bool, Any, str]:
        """Calls an entry where no compiled runner does: (failed, value or description, logs)."""
        if index != self.current:
            self.switch(index)
        self.limit[0] = output_bytes
        try:
            try:
                failed, value = False, self.entries[index](**inputs)
            except BaseException as error:
                failed, value = True, self.describe(error)
        except TaskStopped:  # a second one, while the first was described
            failed, value = True, ("stopped", "TaskStopped", "", "")
        return failed, value, self.drain()


def within(file: Any, roots: Any) -> bool:
    """Whether a path lies in one of these folders, links followed."""
    if not isinstance(file, (str, bytes)) and not hasattr(file, "__fspath__"):
        return False  # a descriptor
    path: Any = sys.modules.get("os.path") or __import__("os").path
    real = path.realpath(file)
    real = real.decode() if isinstance(real, bytes) else real
    return any(real == base or real.startswith(base.rstrip("/") + "/") for base in map(path.realpath, roots))


def restore(space: dict[str, Any], name: str, value: Any) -> None:
    """Sets a name, or takes it away (Ellipsis)."""
    if value is ...:
        space.pop(name, None)
    else:
        space[name] = value


def set_logging(logging: Any, state: tuple[Any, ...]) -> None:
    """Handlers, level, filters, loggers and what is disabled."""
    root, manager = logging.root, logging.Logger.manager
    root.handlers[:], root.level, root.filters[:], root.disabled = state[0], state[1], state[2], state[3]
    manager.loggerDict.clear()
    manager.loggerDict.update(state[4])
    manager.disable = state[5]
    root._cache.clear()


def shield_initialisation(shield: Any) -> None:
    """Has `shield` told how deep this interpreter is in compiled modules that initialise themselves."""
    loader: Any = sys.modules["_frozen_importlib_external"].ExtensionFileLoader
    execute = loader.exec_module

    def exec_module(self: Any, module: Any) -> None:
        depth = shield(-1)
        try:
            shield(depth + 1)
            execute(self, module)
        finally:
            shield(depth)

    loader.exec_module = exec_module


def boot(settings: dict[str, Any], watch: Any, journal: Any, shield: Any) -> tuple[Any, ...]:
    """Makes this interpreter's guest; what the runner keeps hold of."""
    shield_initialisation(shield)
    guest = Guest(settings, watch, journal)
    for name in ("load", "switch", "forget", "describe", "drain", "tidy", "torn"):
        globals()[name] = getattr(guest, name)
    return guest.entries, guest.lines, guest.limit, TaskStopped
