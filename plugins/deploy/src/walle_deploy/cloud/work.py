"""What runs where the larger model is: samples in, outcomes out, nothing raised; only bytes and numbers cross."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from walle_core import Session
from walle_deploy.cloud.models import Model, run_together
from walle_deploy.cloud.sample import Sample, Signature
from walle_deploy.errors import TaskError
from walle_deploy.task.packing import pack

MAX_ANSWER = 1 << 20  # bytes
MAX_WHY = 300  # characters


def _model(given: Any) -> Model:
    return partial(run_together, given) if isinstance(given, Session) else given


@attrs.frozen
class CloudTask:
    """One task's larger model.

    Attributes:
        name: of the task.
        stream: of the tunnel, as in the [cloud] of its walle.toml.
        model: answers; a Session too.
        signature: that samples must fit; None: the model looks at them itself.
    """

    name: str
    stream: str
    model: Model = attrs.field(converter=_model)
    signature: Signature | None = None


@attrs.frozen
class Outcome:
    """What came of a sample.

    Attributes:
        task: its task; "" if it does not say.
        version: of the task, likewise.
        run: names the run on the device.
        time: of the run, milliseconds of the device's clock.
        ok: whether there is an answer.
        answer: packed, see `task.packing`.
        why: there is none.
        ms: that the model took, a batch's time in equal parts.
        cpu_ms: of processor, likewise.
    """

    task: str = ""
    version: str = ""
    run: str = ""
    time: int = 0
    ok: bool = False
    answer: bytes = b""
    why: str = ""
    ms: float = 0.0
    cpu_ms: float = 0.0

    def because(self, why: str) -> Outcome:
        """The same without an answer, for this reason."""
        return attrs.evolve(self, ok=False, answer=b"", why=why[:MAX_WHY])


def work(tasks: Mapping[str, CloudTask], payloads: Sequence[bytes]) -> list[Outcome]:
    """What comes of each payload. A sample that is none, or that the model fails on, does not keep the others back."""
    outcomes = [Outcome()] * len(payloads)
    ready: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for number, payload in enumerate(payloads):
        try:
            sample = Sample.read(payload)
        except TaskError as error:
            outcomes[number] = Outcome(why=text(error))
            continue
        outcomes[number] = Outcome(sample.task, sample.version, sample.run, sample.time)
        task = tasks.get(sample.task)
        try:
            if task is None:
                raise TaskError(f"no model answers for the task {sample.task!r}")
            inputs = dict(sample.inputs) if task.signature is None else task.signature.ready(sample.inputs)
        except TaskError as error:
            outcomes[number] = attrs.evolve(outcomes[number], why=text(error))
        else:
            ready.setdefault(sample.task, []).append((number, inputs))
    for name, items in ready.items():
        for number, ended in zip(
            [n for n, _ in items], _answer(tasks[name].model, [i for _, i in items]), strict=True
        ):
            outcomes[number] = attrs.evolve(outcomes[number], **ended)
    return outcomes


def _answer(model: Model, inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fields of the outcomes. Where a batch fails, each sample is tried by itself."""
    wall, processor = time.perf_counter(), time.process_time()
    answers: Sequence[Any] = ()
    why = ""
    try:
        answers = model(inputs)
        if len(answers) != len(inputs):
            why = f"the model gave {len(answers)} answers to {len(inputs)} samples"
    except (Exception, SystemExit) as error:  # it may raise anything
        why = text(error)
    each = {
        "ms": (time.perf_counter() - wall) * 1e3 / len(inputs),
        "cpu_ms": (time.process_time() - processor) * 1e3 / len(inputs),
    }
    if not why:
        return [_packed(answer) | each for answer in answers]
    if len(inputs) == 1:
        return [{"why": why} | each]
    found = [_answer(model, [one])[0] for one in inputs]
    return [one | {name: one[name] + each[name] for name in each} for one in found]


def _packed(answer: Any) -> dict[str, Any]:
    try:
        data = pack(answer)
    except TaskError as error:
        return {"why": text(error)}
    if len(data) > MAX_ANSWER:
        return {"why": f"an answer of {len(data)} bytes; at most {MAX_ANSWER} are kept"}
    return {"ok": True, "answer": data}


def text(error: BaseException) -> str:
    """What an error says, in characters that every database takes."""
    try:
        said = str(error)
    except Exception:
        said = ""
    whole = said if isinstance(error, TaskError) else f"{type(error).__name__}: {said}"
    return "".join(sign if sign.isprintable() else " " for sign in whole[:MAX_WHY])
