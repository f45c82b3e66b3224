"""One engine and one model in a process of their own, told what to do line by line: the worker of peers.py.

    python benchmarks/engines.py ENGINE MODEL.onnx THREADS FOLDER PRECISION OUTPUT...

PRECISION is high (float32) or low (bfloat16 products in the engines that have them on this processor). FOLDER keeps converted models (conversions.py); OUTPUT are the names of the model's outputs. Prints one JSON line when the
model is ready ({"load_s", "rss_mib"} or {"error"}), then for each line on standard input: ``check FILE`` writes the outputs to an .npz file, ``time SECONDS`` prints the seconds of
every run. How each engine is set follows its own documentation for low latency.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from conversions import CONVERSIONS, import_onnx2torch, load_arrays, to_litert, to_mnn, to_ncnn, to_pytorch

Run = Callable[[], Sequence[np.ndarray]]
LOW = sys.argv[5:6] == ["low"]


def walle(model: Path, threads: int, folder: Path) -> Run:
    import walle_core

    del folder
    inputs = load_arrays(model)
    backend = os.environ.get("WALLE_BENCH_BACKEND") or None
    session = walle_core.Session(model, backend=backend, threads=threads, precision=sys.argv[5])
    return lambda: [np.asarray(v) for v in session.run(inputs).values()]


def onnxruntime(model: Path, threads: int, folder: Path) -> Run:
    import onnxruntime as ort

    del folder
    inputs = load_arrays(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, inputs)


def openvino(model: Path, threads: int, folder: Path) -> Run:
    import openvino as ov

    inputs = load_arrays(model)
    settings = {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "bf16" if LOW else "f32", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads,
        "CACHE_DIR": str(folder / "openvino"),
    }  # fmt: skip
    request = ov.Core().compile_model(str(model), "CPU", settings).create_infer_request()

    def run() -> Sequence[np.ndarray]:
        return list(request.infer(inputs, share_inputs=True, share_outputs=True).values())

    return run


def mnn(model: Path, threads: int, folder: Path, device: str = "CPU") -> Run:
    target = to_mnn(model, folder)
    import MNN
    import MNN.expr
    import MNN.nn

    inputs, outputs = load_arrays(model), sys.argv[6:]
    settings = {"backend": device, "numThread": threads, "precision": "low" if LOW else "high"}
    manager = MNN.nn.create_runtime_manager((settings,))
    net = MNN.nn.load_module_from_file(
        str(target), list(inputs), outputs, runtime_manager=manager, shape_mutable=False
    )
    kinds = {"float32": MNN.expr.float, "int32": MNN.expr.int, "int64": MNN.expr.int}
    given = {n: v.astype(np.int32) if v.dtype == np.int64 else v for n, v in inputs.items()}
    places = [
        MNN.expr.placeholder(list(v.shape), MNN.expr.NCHW, kinds[inputs[n].dtype.name])
        for n, v in given.items()
    ]

    def run() -> Sequence[np.ndarray]:
        for place, value in zip(places, given.values(), strict=True):
            place.write(value)
        return [np.array(v.read()) for v in net.forward(places)]

    return run


def ncnn(model: Path, threads: int, folder: Path, gpu: bool = False) -> Run:
    param = to_ncnn(model, folder)
    inputs, outputs = load_arrays(model), sys.argv[6:]
    import ncnn as lib

    net = lib.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = threads, gpu
    for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
        setattr(net.opt, option, False)
    net.opt.use_bf16_storage = LOW
    if net.load_param(str(param)) or net.load_model(str(param.with_suffix(".bin"))):
        raise RuntimeError("ncnn lacks a layer of this model")
    values = [
        np.ascontiguousarray(v[0] if v.dtype == np.float32 else v[0].astype(np.int32))
        for v in inputs.values()
    ]

    def run() -> Sequence[np.ndarray]:
        with net.create_extractor() as extractor:
            for i, value in enumerate(values):
                extractor.input(f"in{i}", lib.Mat(value))
            made = [extractor.extract(f"out{i}") for i in range(len(outputs))]
            if any(code for code, _ in made):
                raise RuntimeError("ncnn has no such output or fails")
            return [np.array(value) for _, value in made]

    return run


def in_layout(value: np.ndarray, shape: Sequence[int], source: int, target: int) -> np.ndarray:
    """The value with its channels moved from axis `source` to `target`, if it has that shape only then."""
    if value.shape == tuple(shape) or value.ndim < 3:
        return value
    moved = np.moveaxis(value, source, target)
    return np.ascontiguousarray(moved) if moved.shape == tuple(shape) else value


def litert(model: Path, threads: int, folder: Path) -> Run:
    """Its models are channels last: the inputs are moved before the clock starts, outputs as part of a run."""
    file = to_litert(model, folder)
    from ai_edge_litert.interpreter import Interpreter

    inputs, wanted = load_arrays(model), [v.shape for v in load_arrays(model, ("out_", "torch_")).values()]
    net = Interpreter(model_path=str(file), num_threads=threads)  # its default operators apply XNNPACK
    net.allocate_tensors()
    given = []
    for detail in net.get_input_details():
        value = inputs[detail["name"].removeprefix("serving_default_").partition(":")[0]]
        given.append((detail["index"], in_layout(value, detail["shape"], 1, -1).astype(detail["dtype"])))
    details = sorted(net.get_output_details(), key=lambda d: (len(d["name"]), d["name"]))
    results = [d["index"] for d in details]  # Identity, Identity_1, ... in the model's order
    wanted = wanted or [()] * len(results)

    def run() -> Sequence[np.ndarray]:
        for index, value in given:
            net.set_tensor(index, value)
        net.invoke()
        return [in_layout(net.get_tensor(i), shape, -1, 1) for i, shape in zip(results, wanted, strict=True)]

    return run


def pytorch(model: Path, threads: int, folder: Path) -> Run:
    """Eager execution, one call per node of the ONNX file (onnx2torch's module: GELU is five); onnx2torch is loaded as well,
    which takes a tenth of what torch takes."""
    file = to_pytorch(model, folder)
    _, torch = import_onnx2torch()  # the module is made of its classes
    torch.set_num_threads(threads)
    net = torch.load(file, weights_only=False).eval()
    inputs = [torch.from_numpy(v) for v in load_arrays(model).values()]

    def run() -> Sequence[np.ndarray]:
        with torch.inference_mode():
            made = net(*inputs)
        return [v.numpy() for v in (made if isinstance(made, tuple | list) else [made])]

    return run


ENGINES = {f.__name__: f for f in (walle, onnxruntime, openvino, mnn, ncnn, litert, pytorch)}


def peak_mib() -> float:
    """Peak resident memory of this program; `getrusage` would count the process that started it."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def main(engines: Mapping[str, Callable[[Path, int, Path], Run]] = ENGINES) -> int:
    engine, model, threads, folder = (
        engines[sys.argv[1]], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]),
    )  # fmt: skip
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # engines print on standard output

    def answer(value: Any) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    try:
        family = sys.argv[1].partition("-")[0]
        if family in CONVERSIONS:
            CONVERSIONS[family](model, folder)
        start = time.perf_counter()
        run = engine(model, threads, folder)
        run()
        taken = time.perf_counter() - start
        rss = peak_mib()
        answer({"load_s": taken, "rss_mib": rss})
    except Exception as error:  # an engine that cannot run a model is a result
        answer({"error": f"{type(error).__name__}: {error}"[:300]})
        return 1
    for line in sys.stdin:
        what, _, argument = line.strip().partition(" ")
        if what == "check":
            np.savez(argument, *[np.asarray(v) for v in run()])
            answer({})
        elif what == "time":
            times: list[float] = []
            end = time.perf_counter() + float(argument)
            while len(times) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            answer(times)
    return 0


if __name__ == "__main__":
    sys.exit(main())
