"""Session: a graph ready to run. Module: the same with control flow and changing shapes (one class does both)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from walle_core._native import Tensor
from walle_core.cost import GUESS, rates_of
from walle_core.errors import InputError, UnsupportedError, located
from walle_core.evaluate import evaluate
from walle_core.graph.footprint import check_memory
from walle_core.graph.ir import Graph
from walle_core.loading import load
from walle_core.plan import Options, Plan, Planner
from walle_core.plugins import load_plugins
from walle_core.search import Engine
from walle_core.types import DTYPES, TensorSpec

PRECISIONS = ("high", "low")
FLOATS = ("float32", "float64", "float16", "bfloat16")


def engines_for(
    backend: str | Sequence[str] | None,
    threads: int,
    measured: bool,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Engine]:
    """Engines of the installed backends; the named ones first.

    Raises UnsupportedError if a named backend is not installed or has no device here.
    """
    backends = load_plugins().backends
    if not (backend is None or isinstance(backend, str) or (isinstance(backend, Sequence) and len(backend))):
        raise InputError(f"backend must be a name, a list of names or None, not {backend!r}")
    names = [backend] if isinstance(backend, str) else list(backend or [])
    engines: dict[str, Engine] = {}
    for name in [*names, *(n for n in backends if n not in names)]:
        if name not in backends:
            raise UnsupportedError(f"no backend {name!r} is installed; installed: {', '.join(backends)}")
        found = backends[name]
        devices = found.devices()
        if not devices and name in names:
            raise UnsupportedError(f"backend {name!r} finds no device on this machine; see `walle devices`")
        for device in devices[:1]:
            known = measured or name in names
            rates = rates_of(found, device, threads, progress) if known else GUESS
            engines[name] = Engine(found, device, evaluate, rates)
    return list(engines.values())


class Session:
    """A graph compiled for this machine.

    Args:
        graph: a Graph, or the path of a model file.
        backend: None lets the search choose (the devices are calibrated at first use, at most 2 s each, once); a name
            makes that backend run every node that it can; a list restricts the search.
        threads: threads per run.
        precision: ``high`` computes in float32, ``low`` allows bfloat16 or float16 where a backend has it.
        check_finite: True refuses inputs with NaN or infinity (InputError).

    Raises:
        UnsupportedError: no installed backend runs some node, or the named backend is not here.
        ModelError: the graph is inconsistent.
    """

    def __init__(
        self,
        graph: Graph | str | os.PathLike[str],
        backend: str | Sequence[str] | None = None,
        threads: int = 2,
        precision: str = "high",
        check_finite: bool = False,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
        if not isinstance(threads, int) or not 1 <= threads <= 64:
            raise InputError(f"threads must be an integer from 1 to 64, not {threads!r}")
        self.graph = graph if isinstance(graph, Graph) else load(graph)
        self.threads, self.precision, self.check_finite = threads, precision, check_finite
        forced = isinstance(backend, str)
        engines = engines_for(backend, threads, measured=not forced)
        if backend is not None and not forced:
            engines = engines[: len(backend)]
        self._lock = threading.RLock()
        self._last: tuple[Any, Plan] | None = None
        self._names, self._index = self.graph.inputs, {n: i for i, n in enumerate(self.graph.inputs)}
        self._specs = [self.graph.specs.get(n) for n in self._names]
        self._fixed: Plan | None = None  # the only plan of a graph whose inputs have one shape
        try:
            self._planner = Planner(self.graph, Options(engines, forced, threads, precision))
            self._plan_ahead()
        except Exception as error:
            raise located(error, self._where()) from error

    def _plan_ahead(self) -> None:
        """Plans before the first run where the file fixes all sizes."""
        specs = [s for s in self._specs if s is not None and s.static and s.dtype.itemsize]
        if len(specs) == len(self._specs) and not self._planner._control:
            check_memory(self.graph)
            self._fixed = self._plan([Tensor(s.sizes, s.dtype.name, zero=False) for s in specs])

    @property
    def inputs(self) -> dict[str, TensorSpec | None]:
        """Input name -> spec (None where the model does not say)."""
        return dict(zip(self._names, self._specs, strict=True))

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self.graph.outputs

    @property
    def plan(self) -> Plan | None:
        """The plan used last; None before the first run of a graph with open shapes."""
        return self._last[1] if self._last else None

    def run(self, inputs: Mapping[str, Any] | Sequence[Any]) -> dict[str, Any]:
        """Runs once.

        Args:
            inputs: name -> array, or arrays in the order of the graph's inputs. Anything with the buffer protocol,
                DLPack or `__array__`; C-contiguous arrays of the right dtype are not copied.

        Returns:
            Output name -> Tensor (`np.asarray(tensor)` copies nothing; strings and sequences stay host objects). A
            Tensor that the caller keeps is never overwritten by a later run.

        Raises:
            InputError: a name, dtype, rank or size that the graph does not take.
        """
        try:
            tensors = self._bind(inputs)
            made = (self._fixed or self._plan(tensors)).run(tensors)
        except Exception as error:
            raise located(error, self._where()) from error
        return dict(zip(self.graph.outputs, made, strict=True))

    def profile(self, inputs: Mapping[str, Any] | Sequence[Any]) -> list[dict[str, Any]]:
        """Runs once and returns one mapping per native step: name, kernel, algorithm, seconds (static plans only)."""
        try:
            tensors = self._bind(inputs)
            return self._profile(self._plan(tensors), tensors)
        except Exception as error:
            raise located(error, self._where()) from error

    def _profile(self, plan: Plan, tensors: Sequence[Any]) -> list[dict[str, Any]]:
        values = dict(zip(plan.graph.inputs, tensors, strict=True))
        rows: list[dict[str, Any]] = []
        for part in plan.parts:
            given = [values[n] for n in part.inputs]
            if hasattr(part.executable, "profile"):
                made, times = part.executable.profile(given)
                described = part.executable.describe()
                rows += [{**d, "seconds": t / 1e9} for d, t in zip(described, times, strict=True)]
            else:
                made = part.executable.run(given)
            values.update(zip(part.outputs, made, strict=True))
        return rows

    def describe(self) -> list[dict[str, Any]]:
        """One mapping per step of the plan used last: backend, name, kernel or operator, algorithm."""
        if self.plan is None:
            return []
        return [{"backend": p.backend, **row} for p in self.plan.parts for row in p.executable.describe()]

    def _plan(self, tensors: Sequence[Any]) -> Plan:
        key = self._planner._key(tensors)
        last = self._last
        if last is not None and last[0] == key:
            return last[1]
        with self._lock:
            plan = self._planner.plan(tensors)
            self._last = (key, plan)
        return plan

    def _bind(self, inputs: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
        if type(inputs) is dict or isinstance(inputs, Mapping):
            try:
                given = [inputs[n] for n in self._names]
            except KeyError:
                self._name_error(inputs)
            if len(inputs) != len(self._names):
                self._name_error(inputs)
        else:
            try:
                given = list(inputs)
            except TypeError as error:
                raise InputError(
                    f"{self._where()} takes a mapping of names to arrays, or a sequence of arrays, not {inputs!r}"
                ) from error
            if len(given) != len(self._names):
                raise InputError(
                    f"{self._where()} takes {len(self._names)} inputs {list(self._names)}, not {len(given)}"
                )
        return [self._convert(n, v, s) for n, v, s in zip(self._names, given, self._specs, strict=True)]

    def _convert(self, name: str, value: Any, spec: TensorSpec | None) -> Any:
        if (spec is None or spec.shape is None) and (value is None or isinstance(value, list)):
            return value  # an optional or a sequence
        try:
            number = isinstance(value, (int, float)) and spec is not None and spec.dtype.itemsize
            tensor = Tensor.of(value, spec.dtype.name) if number and spec is not None else to_tensor(value)
        except MemoryError:
            raise
        except Exception as error:  # whatever the object's own buffer, DLPack or array protocol raises
            raise self._refused(name, f"{error}" + (f"; it needs {spec}" if spec else "")) from error
        if spec is not None:
            found = tensor.dtype if isinstance(tensor, Tensor) else _host_dtype(tensor, spec)
            if found != spec.dtype.name:
                raise self._refused(
                    name,
                    f"has dtype {found}, needs {spec.dtype.name}; "
                    f"convert it first, for example array.astype({spec.dtype.name!r})",
                )
            shape = tensor.shape
            if shape != spec.shape and spec.shape is not None and not _fits(shape, spec.shape):
                raise self._refused(name, f"has shape {list(shape)}, needs {list(spec.shape)}")
        if self.check_finite and isinstance(tensor, Tensor) and tensor.dtype in FLOATS:
            check_finite(tensor, f"{self._where()}, input {name!r}")
        return tensor

    def _refused(self, name: str, why: str) -> InputError:
        return InputError(f"{self._where()}, input {name!r}: {why}")

    def _name_error(self, inputs: Mapping[str, Any]) -> NoReturn:
        missing = [n for n in self._names if n not in inputs]
        extra = [n for n in inputs if n not in self._index]
        raise InputError(
            f"{self._where()} takes inputs {list(self._names)}; "
            + "; ".join([f"missing: {missing}"] * bool(missing) + [f"unknown: {extra}"] * bool(extra))
        )

    def _where(self) -> str:
        return self.graph.source or self.graph.name


Module = Session


def _host_dtype(value: Any, spec: TensorSpec) -> str:
    """Walle's name for the dtype of an array that no Tensor can hold: texts, and objects where texts are wanted."""
    kind = getattr(value.dtype, "kind", "")
    return "string" if kind in "UST" or (kind == "O" and spec.dtype.itemsize == 0) else str(value.dtype)


def _fits(shape: Sequence[int], wanted: Sequence[int | str]) -> bool:
    return len(shape) == len(wanted) and all(
        isinstance(w, str) or s == w for s, w in zip(shape, wanted, strict=True)
    )


def to_tensor(value: Any) -> Any:
    """A Tensor over an array-like; without a copy where the memory is C-contiguous. Host objects pass through."""
    if isinstance(value, Tensor):
        return value
    dtype = getattr(value, "dtype", None)
    if getattr(dtype, "kind", "-") in "OUST":
        return value
    if not getattr(dtype, "isnative", True):
        value = value.astype(value.dtype.newbyteorder("="))
    try:
        return Tensor.wrap(value)
    except InputError:
        if hasattr(value, "flags") and not value.flags.c_contiguous:
            return to_tensor(value.copy(order="C"))
        if dtype is not None and hasattr(value, "tobytes") and hasattr(value, "shape"):
            if str(dtype) in DTYPES:
                return Tensor.wrap(value.tobytes(), str(dtype), tuple(value.shape)).copy()
        if isinstance(value, (int, float, bool)):
            return Tensor.of(value)
        if hasattr(value, "__dlpack__"):
            return Tensor.from_dlpack(value)
        if hasattr(value, "__array__"):
            return to_tensor(value.__array__())
        raise


def check_finite(tensor: Tensor, where: str) -> None:
    """Raises InputError if a float tensor holds NaN or infinity."""
    flat = tensor.reshape(-1).tolist()
    for index, element in enumerate(flat):
        if element != element or element in (float("inf"), float("-inf")):
            raise InputError(
                f"{where}: element {index} is {element}; clean the input or pass check_finite=False"
            )


def backends() -> dict[str, list[Any]]:
    """Installed backends and the devices that each finds on this machine."""
    return {name: list(backend.devices()) for name, backend in load_plugins().backends.items()}
