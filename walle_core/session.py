"""Session: a graph ready to run. Module: the same with control flow and changing shapes (one class does both)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from walle_core._native import Tensor
from walle_core.binding import check_finite, fits, host_dtype, to_tensor
from walle_core.errors import DeviceError, InputError, ModelError, located
from walle_core.prepared import Found
from walle_core.recovery import POLICIES, replan, rerun
from walle_core.types import TensorSpec

if TYPE_CHECKING:
    from walle_core.graph.ir import Graph
    from walle_core.plan import Plan, Planner
    from walle_core.planimage import Described
    from walle_core.prepared import PreparedPart, StoredPlan
    from walle_core.protocols import Preprocessing, Step

PRECISIONS = ("high", "low")
FLOATS = ("float32", "float64", "float16", "bfloat16")


class Session:
    """A graph compiled for this machine.

    Args:
        graph: a Graph, the path of a model file, or a plan that was made already (`planimage`): then the options that follow,
            `check_finite` and `preprocess` aside, are those that it was made with.
        backend: None lets the search choose (the devices are calibrated at first use, at most 2 s each, once); a name
            makes that backend run every node that it can; a list restricts the search.
        threads: threads per run.
        precision: ``high`` computes in float32. ``low`` lets products round their operands to bfloat16 where a device has
            dot products of it and they are predicted to be faster; sums, and all else, stay in float32.
        check_finite: True refuses inputs with NaN or infinity (InputError).
        cache: True keeps the plan of a model file whose inputs have fixed shapes, packed weights included, in the cache
            folder (WALLE_CACHE), and starts from there the next time. False neither reads nor writes it. A program that
            defines operators outside an installed plugin keeps none.
        exact: True leaves out algorithms that round more than plain sums do. Winograd's F(6x6, 3x3), the coarsest of
            them, stays within 1e-3 of the output's scale.
        on_device_loss: what follows when a device fails or has not enough memory while the session is made or runs.
            ``raise`` raises the DeviceError. ``replan`` leaves that backend out from then on, plans on those that remain
            (if `backend` is a name, on all others; if a list, on the rest of it) and makes the run anew from its inputs.
        preprocess: input name -> what makes it from what the caller gives instead, as the plan's first step: with a
            `walle_core.cv.Preprocess`, `run` takes a uint8 image of any size for that input, and one kernel writes into the
            memory that the model reads; steady state copies and allocates no tensor for it.

    Raises:
        InputError: an option that is none; a `preprocess` that does not make the model's input.
        UnsupportedError: no installed backend runs some node, or the named backend is not here.
        ModelError: the graph is inconsistent.
        DeviceError: a device failed; under ``replan``: and no other backend can run the graph.
    """

    def __init__(
        self,
        graph: Graph | str | os.PathLike[str] | Found,
        backend: str | Sequence[str] | None = None,
        threads: int = 2,
        precision: str = "high",
        check_finite: bool = False,
        cache: bool = True,
        exact: bool = False,
        on_device_loss: str = "raise",
        preprocess: Mapping[str, Preprocessing] | None = None,
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision {precision!r} is not one of {', '.join(PRECISIONS)}")
        if not isinstance(threads, int) or not 1 <= threads <= 64:
            raise InputError(f"threads must be an integer from 1 to 64, not {threads!r}")
        if on_device_loss not in POLICIES:
            raise InputError(f"on_device_loss {on_device_loss!r} is not one of {', '.join(POLICIES)}")
        self.threads, self.precision, self.check_finite = threads, precision, check_finite
        self.exact, self.on_device_loss = bool(exact), on_device_loss
        self._backend = backend
        self._lost: tuple[str, ...] = ()
        self._lock = threading.RLock()
        self._last: tuple[Any, Plan | StoredPlan] | None = None
        self._fixed: Plan | StoredPlan | None = None  # the only plan of a graph whose inputs have one shape
        self._graph: Graph | None = None
        self._path = os.fsdecode(graph) if isinstance(graph, (str, bytes, os.PathLike)) else None
        self._files: Sequence[
            Sequence[Any]
        ] = ()  # of the model as they were, where its graph has not been read
        if isinstance(graph, Found):
            self._adopt(graph)
        elif self._path is None or not cache or not self._restore():
            self._compile(graph, cache)
        self._steps = {name: self._step(name, given) for name, given in (preprocess or {}).items()}

    def _step(self, name: str, given: Preprocessing) -> Step:
        """The step before an input."""
        if name not in self._index:
            raise InputError(
                f"{self._where()} has no input {name!r} to preprocess; its inputs are {list(self._names)}"
            )
        try:
            return given.bind(self._specs[self._index[name]])
        except InputError as error:
            raise self._refused(name, str(error)) from error

    def _restore(self) -> bool:
        """Takes the kept plan of the model file, if one holds."""
        from walle_core.planfile import find

        request = self._request()
        found = find(request) if request is not None else None
        if found is not None:
            self._adopt(found)
        return found is not None

    def _adopt(self, found: Found) -> None:
        self._names = tuple(n for n, _ in found.inputs)
        self._specs: list[TensorSpec | None] = [s for _, s in found.inputs]
        self._index = {n: i for i, n in enumerate(self._names)}
        self._outputs, self._source, self._files = found.outputs, found.source, found.files
        self._fixed, self._last = found.plan, (None, found.plan)
        if self._path is None and found.files:
            self._path = found.files[0][0]

    def _request(self) -> Any:
        from walle_core.planfile import Request

        backend = self._backend
        names: str | tuple[str, ...] | None = backend if isinstance(backend, str) else None
        if isinstance(backend, (list, tuple)) and all(isinstance(n, str) for n in backend):
            names = tuple(backend)
        if self._path is None or (names is None and backend is not None):
            return None
        return Request(self._path, names, self.threads, self.precision, self.exact)

    def _compile(self, given: Any, cache: bool) -> None:
        """Reads, searches and plans."""
        from walle_core.files import recording
        from walle_core.graph.ir import Graph
        from walle_core.loading import load
        from walle_core.plugins import load_plugins

        start = time.perf_counter()
        with recording() as files:
            graph = given if isinstance(given, Graph) else load(given)
        self._graph = graph
        self._source, self._outputs = graph.source or graph.name, graph.outputs
        self._names, self._index = graph.inputs, {n: i for i, n in enumerate(graph.inputs)}
        self._specs = [graph.specs.get(n) for n in self._names]
        try:
            try:
                self._prepare()
            except DeviceError as error:
                replan(self, error)
        except Exception as error:
            raise located(error, self._where()) from error
        taken = time.perf_counter() - start
        load_plugins().notify("session.prepared", graph=self._source, seconds=taken, backends=self.backends)
        if cache and self._path is not None and not self._lost:
            self._keep(list(dict.fromkeys(files)))

    def _prepare(self, lost: tuple[str, ...] = (), tensors: Sequence[Any] | None = None) -> None:
        """Searches among the backends that are not `lost`, and plans: now where the file fixes all sizes, or for
        `tensors`. The session changes only if all of it succeeds.
        """
        from walle_core.engines import contenders
        from walle_core.plan import Options, Planner

        engines, forced = contenders(self._backend, self.threads, self.precision, self.exact, lost)
        planner: Planner = Planner(self.graph, Options(engines, forced, self.threads, self.precision))
        specs = [s for s in self._specs if s is not None and s.static and s.dtype.itemsize]
        fixed = None
        if len(specs) == len(self._specs) and not planner._control:
            from walle_core.graph.footprint import check_memory

            check_memory(self.graph)
            fixed = planner.plan([Tensor(s.sizes, s.dtype.name, zero=False) for s in specs])
        elif tensors is not None:
            planner.plan(tensors)
        self._planner, self._lost = planner, lost
        self._fixed, self._last = fixed, (None, fixed) if fixed is not None else None

    def _whole(self) -> PreparedPart | None:
        whole = self._fixed.whole if self._fixed is not None else None
        return whole if whole is not None and whole.inputs == self._names else None

    def image(self) -> Described | None:
        """The plan with its packed weights, ready to be written and opened elsewhere; None for one of several parts, of changing
        shapes, or of a backend that cannot store it.
        """
        from walle_core.planfile import stamp
        from walle_core.planimage import describe
        from walle_core.plugins import load_plugins

        whole = self._whole()
        if whole is None:
            return None
        inputs = [(n, s) for n, s in zip(self._names, self._specs, strict=True) if s is not None]
        files = self._files or ([stamp(self._path)] if self._path is not None else [])
        return describe(whole, load_plugins().backends[whole.backend], inputs, self._source, files)

    def _keep(self, files: Sequence[str]) -> None:
        from walle_core.ops import CATALOGUE
        from walle_core.planfile import keep
        from walle_core.plugins import load_plugins

        request, whole = self._request(), self._whole()
        if request is None or whole is None:
            return
        if not set(CATALOGUE) <= set(load_plugins().operators):
            return  # the program defines operators itself; a kept plan could not tell when they change
        inputs = [(n, s) for n, s in zip(self._names, self._specs, strict=True) if s is not None]
        keep(request, whole, load_plugins().backends[whole.backend], files, inputs, self._source)

    @property
    def graph(self) -> Graph:
        """The model's graph; read now, if the session started from a kept plan. Raises ModelError if the file is no
        longer what it was then.
        """
        if self._graph is None:
            from walle_core.loading import load
            from walle_core.planfile import unchanged

            if not unchanged(self._files):
                raise ModelError(
                    f"{self._path}: was changed while a Session of it is open; make the Session anew"
                )
            self._graph = load(self._path or "")
        return self._graph

    @property
    def backends(self) -> list[str]:
        """Names of the backends that run the plan used last; before there is one, of those that may."""
        plan = self.plan
        if plan is not None:
            return list(dict.fromkeys(p.backend for p in plan.parts))
        return [e.backend.name for e in self._planner.options.engines]

    @property
    def lost(self) -> tuple[str, ...]:
        """Backends that the session has given up because their devices failed."""
        return self._lost

    @property
    def inputs(self) -> dict[str, TensorSpec | None]:
        """Input name -> spec of what `run` takes (None where the model does not say)."""
        specs = dict(zip(self._names, self._specs, strict=True))
        return {**specs, **{name: step.takes for name, step in self._steps.items()}}

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._outputs

    @property
    def plan(self) -> Plan | StoredPlan | None:
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
            DeviceError: a device failed, see `on_device_loss`. There are no outputs then, not even some of them.
        """
        try:
            tensors = self._bind(inputs)
            try:
                made = (self._fixed or self._plan(tensors)).run(tensors)
            except DeviceError as error:
                made = rerun(self, error, tensors)
        except Exception as error:
            raise located(error, self._where()) from error
        return dict(zip(self._outputs, made, strict=True))

    def profile(self, inputs: Mapping[str, Any] | Sequence[Any]) -> list[dict[str, Any]]:
        """Runs once and returns one mapping per native step: name, kernel, algorithm, seconds (static plans only).

        Raises DeviceError if a device fails, whatever `on_device_loss` says.
        """
        try:
            taken: dict[str, float] = {}
            tensors = self._bind(inputs, taken)
            first = [{**self._describe_step(name), "seconds": seconds} for name, seconds in taken.items()]
            return [*first, *self._profile(self._plan(tensors), tensors)]
        except Exception as error:
            raise located(error, self._where()) from error

    def _profile(self, plan: Plan | StoredPlan, tensors: Sequence[Any]) -> list[dict[str, Any]]:
        values = dict(zip(self._names, tensors, strict=True))
        rows: list[dict[str, Any]] = []
        for part in plan.parts:
            made, times = part.profile([values[n] for n in part.inputs])
            rows += times
            values.update(zip(part.outputs, made, strict=True))
        return rows

    def describe(self) -> list[dict[str, Any]]:
        """One mapping per step of the plan used last: backend, name, kernel or operator, algorithm. Copies to and from a
        device's own memory are steps, with `bytes`.
        """
        plan = self.plan
        parts = plan.parts if plan is not None else ()
        first = [{"backend": "host", **self._describe_step(name)} for name in self._steps]
        return [*first, *({"backend": p.backend, **row} for p in parts for row in p.describe())]

    def _describe_step(self, name: str) -> dict[str, Any]:
        return {"name": name, "kernel": "preprocess", **self._steps[name].describe()}

    def _plan(self, tensors: Sequence[Any]) -> Plan | StoredPlan:
        if self._fixed is not None:
            return self._fixed
        planner = self._planner
        key = planner._key(tensors)
        last = self._last
        if last is not None and last[0] == key:
            return last[1]
        with self._lock:
            plan = planner.plan(tensors)
            if planner is self._planner:
                self._last = (key, plan)
        return plan

    def _bind(
        self, inputs: Mapping[str, Any] | Sequence[Any], taken: dict[str, float] | None = None
    ) -> list[Any]:
        """Inputs as Tensors, in order; `taken` gets the seconds of each step before one."""
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
        if self._steps:
            for i, name in enumerate(self._names):
                if name in self._steps:
                    start = time.perf_counter()
                    given[i] = self._preprocessed(name, given[i])
                    if taken is not None:
                        taken[name] = time.perf_counter() - start
        return [self._convert(n, v, s) for n, v, s in zip(self._names, given, self._specs, strict=True)]

    def _preprocessed(self, name: str, value: Any) -> Tensor:
        try:
            return self._steps[name](value)
        except InputError as error:
            raise self._refused(name, str(error)) from error

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
            found = tensor.dtype if isinstance(tensor, Tensor) else host_dtype(tensor, spec)
            if found != spec.dtype.name:
                raise self._refused(
                    name,
                    f"has dtype {found}, needs {spec.dtype.name}; "
                    f"convert it first, for example array.astype({spec.dtype.name!r})",
                )
            shape = tensor.shape
            if shape != spec.shape and spec.shape is not None and not fits(shape, spec.shape):
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
        return self._source


Module = Session
