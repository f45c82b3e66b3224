"""Tasks that together use every compiled module of Walle and its plugins: for the tests that run them in interpreters.

Each is given a number, the input of a small model, the model's path and the names of backends, and returns plain values
and Tensors that depend on these alone.
"""

from importlib.metadata import entry_points

from walle_core.vm import Policy, Task, allow

TENSOR = """
from walle_core import InputError, Tensor
def main(seed, x, **rest):
    flat = memoryview(x.copy().reshape(-1))
    for i in range(0, len(flat), 97):
        flat[i] = flat[i] * seed + i
    try:
        Tensor([-1])
    except InputError:  # the class of this interpreter, not of the one that imported the module first
        return [Tensor.of(flat.tolist()), Tensor.from_dlpack(x).reshape(-1), x]
"""
SESSION = """
import walle_core as walle
sessions = {}
def main(seed, x, model, backends, **rest):
    key = backends[seed % len(backends)], 1 + seed // len(backends) % 2
    if key not in sessions:
        sessions[key] = walle.Session(model, backend=key[0], threads=key[1])
    return list(sessions[key].run([x]).values())
"""
MATRIX = """
from walle_core import matrix as xp
@xp.fused
def chain(a, b):
    return xp.tanh((a * 2 + b) * b - a)
def main(seed, **rest):
    a = xp.reshape(xp.astype(xp.linspace(-3, 3, 100 * 100), xp.float32), (100, 100))
    b = chain(a, a[seed % 100]) + xp.exp(-xp.abs(a)) / (1 + xp.square(a))
    b[b > 0.5] *= 0.5
    product = b @ xp.permute_dims(b, (1, 0))
    wide = xp.astype(product[:20, :20], xp.float64) + 50 * xp.eye(20)
    made = [
        product, xp.sum(b, axis=0), xp.max(b, axis=1), xp.argsort(b[3]), xp.unique_values(xp.astype(a * 5, xp.int8)),
        xp.linalg.solve(wide, xp.ones(20)), xp.linalg.svdvals(wide), xp.abs(xp.fft.rfft(xp.astype(a[5], xp.float64))),
        xp.cumulative_sum(xp.arange(50) * seed),
    ]
    try:
        xp.ones(2) + xp.ones(3)
    except ValueError as error:
        made.append(str(error))
    return [getattr(m, "tensor", m) for m in made]
"""
PICTURES = """
from walle_core import Tensor, cv
def main(seed, **rest):
    size = 40 + seed % 40
    image = Tensor((size, size), "uint8")
    cv.circle(image, (size // 2, size // 2), size // 3, 200, 3, cv.LINE_AA)
    cv.rectangle(image, (3, 3), (size // 4, size // 4), 90, cv.FILLED)
    cv.fillPoly(image, [[[5, 30], [30, 33], [9, 39]]], 120)
    contours, tree = cv.findContours(image, cv.RETR_TREE, cv.CHAIN_APPROX_SIMPLE)
    count, labels, stats, centres = cv.connectedComponentsWithStats(image)
    small = cv.GaussianBlur(cv.resize(image, (33, 21)), (5, 5), 0)
    turned = cv.warpAffine(small, cv.getRotationMatrix2D((9, 9), 20, 1.1), (30, 30))
    network = cv.Preprocess((5, 4), cv.COLOR_GRAY2BGR, (1, 2, 3))(small)
    areas = [(cv.contourArea(c), cv.arcLength(c, True), cv.minAreaRect(c)) for c in contours]
    return [image, tree, count, labels, stats, turned, network, areas, cv.calcHist([image], [0], None, [8], [0, 256]),
            cv.Rodrigues([0.1, 0.2, size / 100])[0], cv.cvtColor(cv.cvtColor(small, cv.COLOR_GRAY2BGR), cv.COLOR_BGR2HSV)]
"""
SOUND = """
import io, math
from walle_core import audio
def main(seed, **rest):
    sound = [math.sin(0.01 * i * (1 + seed % 7)) for i in range(2000)]
    file = io.BytesIO()
    audio.write_wav(file, audio.resample(sound, 8000, 16000), 16000)
    file.seek(0)
    heard, rate = audio.read_wav(file)
    return [rate, heard, audio.stft(heard, n_fft=256), audio.mfcc(heard, rate, 5, n_fft=256, n_mels=20)]
"""
EVENTS = """
import json, random, zlib
from walle_pipeline._engine import Engine
from walle_pipeline._packing import Packer, unpack
class Event:
    __slots__ = ("page", "time", "key", "id", "instance")
    def __init__(self, page, time, key, id, instance=0):
        self.page, self.time, self.key, self.id, self.instance = page, time, key, id, instance
class Enter(Event): pass
class Click(Event): pass
class Schema:
    numbers = {Enter: 0, Click: 1}
    def defaults(self, cls): return {}
    def rest(self, event): return b""
    def make(self, kind, page, time, key, id, instance, rest): return (Enter, Click)[kind](page, time, key, id, instance)
def engine():
    made = Engine(Schema())
    enter, click = made.condition(0, "home", None), made.condition(1, None, lambda event: event.id % 3)
    made.add("buys", [([(enter, 1, 1)], []), ([(click, 2, 1)], []), ([], [])], 500, 0, True, True, False)
    return made
def told(found):
    return [[(m.task, m.key, m.start, m.time, [(type(e).__name__, e.id) for e in m.span]) for m in part] for part in found[:2]]
def main(seed, **rest):
    draw = random.Random(seed)
    events = [draw.choice((Enter, Click))(draw.choice(("home", "item")), 40 * i, f"u{draw.randrange(5)}", i) for i in range(300)]
    one, two = engine(), engine()
    packer = Packer(Schema())
    for event in events:
        packer.add(event)
    rows = zlib.decompress(zlib.compress(packer.rows_bytes))
    again = [e.id for e in unpack(Schema(), rows, [0, 1], packer.page_names, packer.key_names)]
    live, packed = told(one.feed(events)), told(two.feed_packed(rows, [0, 1], packer.page_names, packer.key_names))
    assert live == packed and again == list(range(300)), "packed events differ from those that were packed"
    return json.loads(json.dumps([live, told(one.finish()), len(rows)]))
"""
SYSTEM = """
import threading
from walle_core.vm._interpreter import available, interrupt_thread
from walle_core.vm._seccomp import numbers
from walle_core.vm._system import address, call
def main(seed, **rest):
    interrupt_thread(threading.get_ident(), None)
    return [available(), address(b"text") > 0, call(numbers()["getpid"]) > 1]
"""
TABLES = """
import {0} as plugin
from walle_core._native import load_table
def main(**rest):
    return [(k.family, k.op, k.dtype, k.isa, k.lanes) for table in plugin.tables() for k in load_table(table)]
"""
GRANTS = {
    "sound": {"io"},
    "events": {"walle_pipeline"},
    "system": {"threading", "walle_core.vm._interpreter", "walle_core.vm._seccomp", "walle_core.vm._system"},
}


def tasks() -> dict[str, Task]:
    """The tasks by name; one more for each plugin that declares kernel tables."""
    sources = {
        "tensor": TENSOR, "session": SESSION, "matrix": MATRIX, "pictures": PICTURES, "sound": SOUND, "events": EVENTS,
        "system": SYSTEM,
    }  # fmt: skip
    grants = dict(GRANTS)
    for entry in entry_points(group="walle.kernels"):
        module = entry.value.partition(":")[0]
        sources[f"tables of {entry.name}"] = TABLES.format(module)
        grants[f"tables of {entry.name}"] = {module, "walle_core._native"}
    return {
        name: Task(name, source, policy=Policy(imports=allow.DEFAULT | grants.get(name, set())))
        for name, source in sources.items()
    }
