"""Trainer: keeps weights and the optimiser's tensors, and runs one step after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from walle_core._native import Tensor
from walle_core.binding import to_tensor
from walle_core.errors import DivergedError, InputError
from walle_core.graph.ir import Graph
from walle_core.session import Session
from walle_core.train.diagnosis import first_broken
from walle_core.train.losses import Loss
from walle_core.train.optimizers import Optimizer
from walle_core.train.parameters import parameters, unpacked
from walle_core.train.schedules import Constant, Schedule
from walle_core.train.step import RATE, TARGET, Step, make_step
from walle_core.types import TensorSpec
from walle_core.types import dtype as as_dtype

MAX_STEPS = 8  # step graphs kept, one per shapes of a batch


class Trainer:
    """Trains the constants of a graph.

    Args:
        graph: the model, as `walle.load` gives it; it stays as it is. Weights kept in fewer bits are trained in float32.
        loss: what is made small, of the output `output` (the first one by default).
        optimizer: how.
        trained: names of the weights that change, or a function of a name; all (`parameters`) by default.
        schedule: factor of the learning rate per step.
        clip: longest norm of all gradients together; longer ones are scaled down.
        seed: of dropout. Equal seeds at equal threads on one backend give equal bits.
        statistics: False keeps batch normalisation as it is in a run.
        recompute: True computes cheap forward values again in the backward pass, so that less is kept between them.
        backend, threads: as for Session.

    Raises:
        GradientError: what is trained does not reach the loss through differentiable operators (at the first step).
        InputError: there is nothing to train, or an option is none.
    """

    def __init__(
        self, graph: Graph, loss: Loss, optimizer: Optimizer, *, output: str | None = None,
        trained: Sequence[str] | Callable[[str], bool] | None = None, schedule: Schedule | None = None,
        clip: float | None = None, seed: int = 0, statistics: bool = True, recompute: bool = False,
        backend: str | Sequence[str] | None = None, threads: int = 2,
    ) -> None:  # fmt: skip
        if clip is not None and not 0 < clip < math.inf:
            raise InputError(f"clip must be a number above 0 or None, not {clip!r}")
        self.output = graph.outputs[0] if output is None else output
        self.loss, self.optimizer, self.schedule = loss, optimizer, schedule or Constant()
        self.clip, self.seed, self.step_count = clip, seed, 0
        self.threads, self.backend = threads, backend
        self._model, self._statistics, self._recompute = unpacked(graph), statistics, recompute
        self._wanted = trained
        self._steps: dict[Any, tuple[Step, Session]] = {}
        self._kept: dict[str, Tensor] = {}
        self.trained: tuple[str, ...] = ()
        self.last_norm = math.nan

    @property
    def kept(self) -> Mapping[str, Tensor]:
        """What passes from step to step: weights, statistics, the optimiser's tensors. Empty before the first step."""
        return self._kept

    def step(self, inputs: Mapping[str, Any], target: Any) -> float:
        """One step on a batch; returns the loss before it.

        Raises:
            DivergedError: the loss or a gradient is not finite; names the first operator that made such a value. The
                weights stay as they were.
            InputError: an input or target of another name, shape or dtype than needed.
        """
        given = {name: to_tensor(value) for name, value in inputs.items()}
        step, session = self._session(given)
        given[TARGET] = to_tensor(target)
        given |= {mask.name: mask.draw(self.seed, self.step_count) for mask in step.masks}
        given |= {name: self._kept[name] for name in step.updated}
        numbers = {"train/" + k: v for k, v in self.optimizer.numbers(self.step_count + 1).items()}
        numbers[RATE] = self.optimizer.lr * self.schedule(self.step_count)
        given |= {n: Tensor.of(numbers[n], session.graph.specs[n].dtype.name) for n in step.numbers}
        made = session.run(given)
        loss, norm = float(made[step.loss].item()), float(made[step.norm].item())
        if not math.isfinite(loss) or not math.isfinite(norm):
            what = (
                f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradients is {norm}"
            )
            raise DivergedError(
                f"{self._where()}, step {self.step_count}: {what}; {first_broken(step.graph, given)}. The weights are "
                "those before the step; use a lower learning rate, `clip`, or look at the batch"
            )
        self._kept.update((name, made[new]) for name, new in step.updated.items())
        self.step_count += 1
        self.last_norm = norm
        return loss

    def graph(self) -> Graph:
        """The model with the weights as they are now; it runs, and can be saved, as the one that was given."""
        constants = dict(self._model.constants)
        constants.update((n, t.copy()) for n, t in self._kept.items() if n in constants)
        return self._model.evolve(constants=constants)

    def prepare(self, inputs: Mapping[str, Any]) -> Session:
        """The session of the step for batches of these shapes, planned now."""
        return self._session({name: to_tensor(value) for name, value in inputs.items()})[1]

    def resume(self, kept: Mapping[str, Tensor], trained: Sequence[str], step: int, seed: int) -> None:
        """Goes on from a state that `kept`, `trained`, `step_count` and `seed` described (see `restore`)."""
        self._kept, self.trained, self.step_count, self.seed = dict(kept), tuple(trained), step, seed
        self._steps.clear()

    def _session(self, given: Mapping[str, Any]) -> tuple[Step, Session]:
        key = tuple((n, tuple(t.shape), str(t.dtype)) for n, t in sorted(given.items()))
        if key not in self._steps:
            while len(self._steps) >= MAX_STEPS:
                self._steps.pop(next(iter(self._steps)))
            self._steps[key] = self._plan(given)
        return self._steps[key]

    def _plan(self, given: Mapping[str, Any]) -> tuple[Step, Session]:
        model = self._model
        if set(given) != set(model.inputs):
            raise InputError(f"{self._where()} takes inputs {list(model.inputs)}, not {sorted(given)}")
        specs = {**model.specs}
        for name, tensor in given.items():
            specs[name] = TensorSpec(as_dtype(str(tensor.dtype)), tuple(tensor.shape))
        derived = {
            o for node in model.nodes for o in node.outputs
        }  # their shapes follow from those of the batch
        graph = model.evolve(specs={n: s for n, s in specs.items() if n not in derived})
        self.trained = self.trained or self._chosen(graph)
        step = make_step(
            graph,
            self.trained,
            self.output,
            self.loss,
            self.optimizer,
            self.clip,
            self._statistics,
            self._recompute,
        )
        for name in step.updated:
            if name not in self._kept:
                value = model.constants.get(name)
                spec = step.graph.specs[name]
                self._kept[name] = value if value is not None else Tensor(spec.sizes, spec.dtype.name)
        return step, Session(step.graph, self.backend, self.threads)

    def _chosen(self, graph: Graph) -> tuple[str, ...]:
        wanted = self._wanted
        found = parameters(graph.evolve(outputs=(self.output,)).pruned())
        if wanted is not None:
            found = [n for n in found if wanted(n)] if callable(wanted) else list(wanted)
        if not found:
            raise InputError(f"{self._where()} has no weights to train")
        return tuple(found)

    def _where(self) -> str:
        return self._model.source or self._model.name
