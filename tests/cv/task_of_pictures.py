"""Finds, measures and draws, and hears; in interpreters with a GIL of their own, on threads at once. No NumPy.

Run with a Python from 3.12 on: ``python task_of_pictures.py THREADS ROUNDS``. Prints the digests of all rounds, which
are one if nothing went wrong.
"""

import sys
import threading
from pathlib import Path

TASK = """
import sys
for name in blocked.split(","):
    sys.modules[name] = None
import math
from walle_core import audio, cv
from walle_core._native import Tensor
total = []
for size in (40, 64, 91):
    image = Tensor((size, size), "uint8")
    cv.circle(image, (size // 2, size // 2), size // 3, 200, 3, cv.LINE_AA)
    cv.rectangle(image, (3, 3), (size // 4, size // 4), 90, cv.FILLED)
    cv.ellipse(image, (size // 2, size - 9), (12, 5), 30, 0, 300, 255, 2)
    cv.fillPoly(image, [[[5, 30], [30, 33], [9, 39]]], 120)
    contours, tree = cv.findContours(image, cv.RETR_TREE, cv.CHAIN_APPROX_SIMPLE)
    count, labels, stats, centres = cv.connectedComponentsWithStats(image)
    total += [sum(image.tobytes()), len(contours), sum(tree.reshape(tree.size).tolist()), count]
    total += [cv.contourArea(c) for c in contours] + [round(cv.arcLength(c, True), 3) for c in contours]
    hull = cv.convexHull(contours[0])
    total += [hull.shape[0], cv.minAreaRect(contours[0]), cv.minEnclosingCircle(contours[0]), sum(stats.reshape(stats.size).tolist())]
    small = cv.GaussianBlur(cv.resize(image, (33, 21)), (5, 5), 0)
    total += [sum(cv.warpAffine(small, cv.getRotationMatrix2D((9, 9), 20, 1.1), (30, 30)).tobytes()), cv.threshold(small, 0, 255, cv.THRESH_OTSU)[0]]
    total += cv.Preprocess((5, 4), cv.COLOR_GRAY2BGR, (1, 2, 3))(small).reshape(60).tolist()
    total += cv.calcHist([image], [0], None, [8], [0, 256]).tolist() + [sum(cv.equalizeHist(image).tobytes())]
    total += cv.Rodrigues([0.1, 0.2, size / 100])[0].tolist() + cv.solve([[2.0, 1.0], [1.0, 3.0]], [1.0, size])[1].tolist()
sound = [math.sin(0.05 * i) for i in range(2000)]
total += audio.mfcc(audio.resample(sound, 8000, 16000), 16000, 5, n_fft=256, n_mels=20).tolist()
answer = repr(total)
assert "numpy" not in sys.modules or sys.modules["numpy"] is None
with open(path, "w") as file:
    file.write(answer)
"""


def main(threads: int, rounds: int) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "native"))
    import tempfile

    from own_gil import BLOCKED, Interpreter

    answers: set[str] = set()
    failed: list[BaseException] = []

    def work(number: int, folder: str) -> None:
        try:
            for i in range(rounds):
                path = f"{folder}/{number}_{i}"
                with Interpreter() as interpreter:
                    interpreter.run(TASK, blocked=BLOCKED, path=path)
                answers.add(Path(path).read_text())
        except BaseException as error:
            failed.append(error)

    with tempfile.TemporaryDirectory() as folder:
        workers = [threading.Thread(target=work, args=(n, folder)) for n in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if failed:
        raise failed[0]
    print(len(answers), len(next(iter(answers))))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
