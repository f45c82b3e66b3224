"""Commands on files that are not what they should be: exit code 2 and one line on stderr that helps."""

import os
import sys
import zipfile

import numpy as np
import pytest
from onnx import helper
from seeds import model, some

from walle_core.cli import main

if not hasattr(os, "mkfifo"):
    pytest.skip("pipes in place of files", allow_module_level=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with models, arrays and pictures, most of them bad."""
    root = tmp_path_factory.mktemp("cli")
    relu = [helper.make_node("Relu", ["x"], ["y"], name="relu")]
    good = model(relu, {"x": some(2, 3)}, ["y"])
    (root / "ok.onnx").write_bytes(good)
    (root / "image.onnx").write_bytes(model(relu, {"x": some(1, 3, 8, 8)}, ["y"]))
    (root / "cut.onnx").write_bytes(good[:40])
    (root / "misfit.onnx").write_bytes(
        model([helper.make_node("MatMul", ["x", "x"], ["y"], name="mm")], {"x": some(2, 3)}, ["y"])
    )
    for name in ("garbage.onnx", "garbage.npy", "garbage.jpg", "garbage.wav", "labels.bin"):
        (root / name).write_bytes(b"\xff\xfe\x00garbage" * 9)
    for name in ("empty.onnx", "empty.npy", "empty.npz", "empty.jpg", "empty.wav"):
        (root / name).write_bytes(b"")
    (root / "text.txt").write_text("hello")
    (root / "folder.onnx").mkdir()
    (root / "loop.onnx").symlink_to(root / "loop.onnx")
    os.mkfifo(root / "pipe.onnx")
    np.save(root / "objects.npy", np.array([{}], object), allow_pickle=True)
    np.save(root / "wrong.npy", some(2, 4))
    np.savez(root / "other.npz", q=some(2), z=some(2))
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 3), }".ljust(117) + b"\n"
    huge = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + head
    (root / "huge.npy").write_bytes(huge)
    with zipfile.ZipFile(root / "huge.npz", "w") as file:
        file.writestr("x.npy", huge)
    (root / "broken.npz").write_bytes(b"PK\x03\x04broken")
    (root / "labels.json").write_text('{"cat": 1}')
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(root / "ok.png")
    (root / "cut.png").write_bytes((root / "ok.png").read_bytes()[:3000])
    return root


def fails(capfd, folder, *arguments):
    """The one line that a failing command says."""
    assert main([str(folder / a) if (folder / a).exists() or "." in a[-6:] else a for a in arguments]) == 2
    out, err = capfd.readouterr()
    assert not out
    assert err.startswith("walle: ")
    assert err.count("\n") == 1, err
    assert len(err) > len("walle: ") + 10
    return err


MODELS = {
    "absent.onnx": "does not exist", "garbage.onnx": "not a readable ONNX model", "cut.onnx": "is the file complete",
    "empty.onnx": "is empty", "folder.onnx": "is a directory", "loop.onnx": "loop.onnx", "pipe.onnx": "not a regular file",
    "text.txt": "no installed frontend reads this file", "garbage.jpg": "no installed frontend", "misfit.onnx": "'mm'",
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("command", ["run", "explain", "bench", "rank"])
def test_models(command, name, folder, capfd, uncalibrated):
    del uncalibrated
    extra = {"run": ["--zeros", "--backend", "reference"], "explain": ["--backend", "reference"],
             "bench": ["--backend", "reference"], "rank": []}[command]  # fmt: skip
    err = fails(capfd, folder, command, name, *extra)
    assert MODELS[name] in err
    assert name in err


INPUTS = {
    "absent.npy": "does not exist", "garbage.npy": "garbage.npy cannot be read", "empty.npy": "empty.npy cannot be read",
    "objects.npy": "Object arrays", "wrong.npy": "needs [2, 3]", "huge.npy": "huge.npy cannot be read",
    "other.npz": "no input 'q'; it has: x", "huge.npz": "huge.npz cannot be read", "broken.npz": "broken.npz cannot be read",
    "empty.npz": "empty.npz cannot be read", "garbage.wav": "garbage.wav is no PCM .wav", "empty.wav": "ends too soon",
    "folder.onnx": "does not exist", "pipe.onnx": "does not exist", "garbage.jpg": "is no image: it needs 3 or 4",
}  # fmt: skip


@pytest.mark.parametrize("name", INPUTS)
def test_inputs(name, folder, capfd):
    assert INPUTS[name] in fails(capfd, folder, "run", "ok.onnx", "--backend", "reference", "--input", name)


@pytest.mark.parametrize("name", ["garbage.jpg", "empty.jpg", "cut.png", "text.txt"])
def test_pictures_that_are_none(name, folder, capfd):
    err = fails(capfd, folder, "run", "image.onnx", "--backend", "reference", "--input", name)
    assert name in err


OPTIONS = {
    "no data": (["ok.onnx"], "--input x=FILE"),
    "unknown name": (["ok.onnx", "--set", "q=1"], "no input 'q'"),
    "no number": (["ok.onnx", "--set", "x=a"], "give a number"),
    "backend": (["ok.onnx", "--zeros", "--backend", "nope"], "no backend 'nope' is installed; installed: "),
    "threads": (["ok.onnx", "--zeros", "--backend", "reference", "--threads", "100"], "from 1 to 64"),
    "labels": (["ok.onnx", "--zeros", "--labels", "labels.bin"], "cannot be read as UTF-8"),
    "labels in JSON": (["ok.onnx", "--zeros", "--labels", "labels.json"], "labels must be lines"),
    "no model": ([], "Missing argument"),
    "mean": (["image.onnx", "--input", "ok.png", "--mean", "1,2"], "1 or 3 numbers"),
    "scale": (["image.onnx", "--input", "ok.png", "--scale", "0"], "not 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case, folder, capfd):
    arguments, message = OPTIONS[case]
    assert message in fails(capfd, folder, "run", *arguments)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full")
@pytest.mark.parametrize("path", ["/dev/full", "/proc/walle.npz"])
def test_outputs_that_cannot_be_written(path, folder, capfd):
    err = fails(capfd, folder, "run", "ok.onnx", "--zeros", "--backend", "reference", "--outputs", path)
    assert path in err
