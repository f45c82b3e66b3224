"""A livestream made of real photos and sounds: a camera that pans over people, an item in its corner, a voice now and then."""

from __future__ import annotations

from pathlib import Path

import attrs

from walle_core import Tensor, audio, cv
from walle_core import matrix as xp

WIDTH, HEIGHT, FPS, RATE = 800, 600, 5, 16000
WINDOW = (WIDTH - 272, HEIGHT - 272, 256, 256)  # of the item: x, y, width, height
PEOPLE, VOICE = "ultraface_27_people.jpg", "tflm_yes_1000ms.wav"
ITEMS = {"kitten": "onnx_tutorials_cat.jpg", "dog": "onnx_tutorials_dog.jpg", "puppy": "super-res-input.jpg"}


@attrs.frozen
class Scene:
    """One second of the stream.

    Attributes:
        at: the middle of what the camera sees at its begin, in parts of the photo's sides; it moves to the next one's.
        width: of that, in parts of the photo's width.
        item: key of ITEMS, or "".
        voice: whether somebody speaks.
    """

    at: tuple[float, float]
    width: float
    item: str = ""
    voice: bool = False


SCENES = (
    Scene((0.50, 0.90), 0.20),  # the floor
    Scene((0.50, 0.90), 0.22, "puppy"),
    Scene((0.53, 0.62), 0.20, "puppy", voice=True),
    Scene((0.46, 0.66), 0.18),
    Scene((0.12, 0.10), 0.16),
    Scene((0.36, 0.30), 0.26, "dog"),
    Scene((0.45, 0.34), 0.22, "dog", voice=True),
    Scene((0.75, 0.62), 0.20, "kitten", voice=True),
    Scene((0.90, 0.95), 0.16, "kitten"),
    Scene((0.90, 0.95), 0.16),
)


@attrs.frozen
class Stream:
    """Frames (H × W × 3, uint8, blue, green, red), sound (float32, 16 kHz) and the scenes they show."""

    frames: list[Tensor]
    sound: Tensor
    scenes: tuple[Scene, ...]


def square(photo: Tensor, side: int) -> Tensor:
    """The middle of a photo."""
    height, width = photo.shape[:2]
    small = min(height, width)
    x, y = (width - small) // 2, (height - small) // 2
    return cv.resize(
        xp.asarray(photo)[y : y + small, x : x + small, :], (side, side), interpolation=cv.INTER_AREA
    )


def seen(photo: Tensor, at: tuple[float, float], width: float) -> Tensor:
    """What the camera sees, repeated beyond the photo's edges."""
    rows, columns = photo.shape[:2]
    scale = width * columns / WIDTH
    left, top = at[0] * columns - scale * WIDTH / 2, at[1] * rows - scale * HEIGHT / 2
    flags = cv.INTER_LINEAR | cv.WARP_INVERSE_MAP
    place = [[scale, 0, left], [0, scale, top]]
    return cv.warpAffine(photo, place, (WIDTH, HEIGHT), flags=flags, borderMode=cv.BORDER_REPLICATE)


def make(samples: Path, seconds: int) -> Stream:
    """The first `seconds` scenes of the stream, from the folder of samples."""
    photo = cv.imread(samples / PEOPLE)
    items = {name: square(cv.imread(samples / file), WINDOW[2]) for name, file in ITEMS.items()}
    word, rate = audio.read_wav(samples / VOICE)
    said = xp.asarray(word if rate == RATE else audio.resample(word, rate, RATE))
    scenes = SCENES[:seconds]
    x, y, width, height = WINDOW
    frames = []
    for number, scene in enumerate(scenes):
        towards = scenes[min(number + 1, len(scenes) - 1)]
        for i in range(FPS):
            t = i / FPS
            at = tuple(a + (b - a) * t for a, b in zip(scene.at, towards.at, strict=True))
            frame = seen(photo, (at[0], at[1]), scene.width + (towards.width - scene.width) * t)
            if scene.item:
                cv.rectangle(frame, (x - 3, y - 3), (x + width + 2, y + height + 2), (255, 255, 255), 3)
                xp.asarray(frame)[y : y + height, x : x + width, :] = xp.asarray(items[scene.item])
            frames.append(frame)
    sound = xp.zeros(len(scenes) * RATE, dtype=xp.float32)
    for number, scene in enumerate(scenes):
        if scene.voice:
            count = min(RATE, said.size)
            sound[number * RATE : number * RATE + count] = said[:count]
    return Stream(frames, sound.tensor, scenes)
