"""One GPU engine and one model in a process of its own: the worker of gpu.py, which talks to it as peers.py does to engines.py.

    python benchmarks/gpu_engines.py ENGINE MODEL.onnx THREADS FOLDER PRECISION OUTPUT...

ENGINE is walle:BACKEND or a name of ENGINES. An engine that would silently compute on the processor instead is an error. Every run
copies its inputs to the device and its outputs back.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import engines
import numpy as np
from conversions import import_onnx2torch, load_arrays, to_pytorch
from engines import LOW, Run


@contextmanager
def heard() -> Iterator[list[str]]:
    """What native code prints on standard output and error meanwhile, as one text once it is over."""
    said: list[str] = []
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        for handle in (1, 2):
            os.dup2(file.fileno(), handle)
        try:
            yield said
        finally:
            for handle, old in zip((1, 2), kept, strict=True):
                os.dup2(old, handle)
                os.close(old)
            file.seek(0)
            said.append(file.read().decode(errors="replace"))


def on_mnn(model: Path, threads: int, folder: Path, device: str) -> Run:
    """MNN says that it falls back to the processor, and where a device is missing, only in print."""
    with heard() as said:
        run = engines.mnn(model, threads, folder, device)
        run()
    if "use 0 instead" in said[0] or "error" in said[0].lower():
        raise RuntimeError(f"MNN does not use {device}: {' '.join(said[0].split())[:200]}")
    return run


def mnn_opencl(model: Path, threads: int, folder: Path) -> Run:
    return on_mnn(model, threads, folder, "OPENCL")


def mnn_vulkan(model: Path, threads: int, folder: Path) -> Run:
    return on_mnn(model, threads, folder, "VULKAN")


def ncnn_vulkan(model: Path, threads: int, folder: Path) -> Run:
    import ncnn as lib

    if not lib.get_gpu_count():
        raise RuntimeError("ncnn finds no Vulkan device")
    return engines.ncnn(model, threads, folder, gpu=True)


def onnxruntime_cuda(model: Path, threads: int, folder: Path) -> Run:
    import onnxruntime as ort

    del folder
    provider = "CUDAExecutionProvider"
    if provider not in ort.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no CUDA; install onnxruntime-gpu")
    inputs = load_arrays(model)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    settings = {"use_tf32": int(LOW)}  # sums of float32 products, as in the other engines
    session = ort.InferenceSession(str(model), options, providers=[(provider, settings)])
    if provider not in session.get_providers():
        raise RuntimeError("ONNX Runtime fell back to the processor: it finds no CUDA device or library")
    return lambda: session.run(None, inputs)


def pytorch_cuda(model: Path, threads: int, folder: Path) -> Run:
    del threads
    file = to_pytorch(model, folder)
    _, torch = import_onnx2torch()
    if not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = LOW
    net = torch.load(file, weights_only=False).eval().cuda()
    inputs = [torch.from_numpy(v) for v in load_arrays(model).values()]

    def run() -> Sequence[np.ndarray]:
        with torch.inference_mode():
            made = net(*[v.cuda() for v in inputs])
        return [v.cpu().numpy() for v in (made if isinstance(made, tuple | list) else [made])]

    return run


PEERS = {
    f.__name__.replace("_", "-"): f
    for f in (ncnn_vulkan, mnn_opencl, mnn_vulkan, onnxruntime_cuda, pytorch_cuda)
}


def main() -> int:
    family, _, backend = sys.argv[1].partition(":")
    if family == "walle":
        os.environ["WALLE_BENCH_BACKEND"] = backend
    return engines.main({**PEERS, sys.argv[1]: engines.walle} if family == "walle" else PEERS)


if __name__ == "__main__":
    sys.exit(main())
