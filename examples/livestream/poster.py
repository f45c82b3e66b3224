"""The picture of what was found: the best moments with boxes and labels, and the whole stream as a chart below them."""

from __future__ import annotations

from typing import Any

import stream
from PIL import Image, ImageDraw, ImageFont

from walle_core import Tensor, cv
from walle_core import matrix as xp

WIDTH, CHART, LINE, EDGE = 1440, 280, 26, 60
GREEN, AMBER, BLUE, DARK, GREY, WHITE = (90, 220, 60), (40, 170, 255), (230, 150, 60), (32, 28, 26), (120, 120, 120), (245, 245, 245)  # fmt: skip


def write(image: Tensor, text: str, at: tuple[int, int], color: tuple[int, int, int], size: int = 20) -> None:
    """Writes on an image, from its left upper corner on; what is outside is cut off."""
    font = ImageFont.load_default(size)
    left, top, right, bottom = (int(v) for v in font.getbbox(text))
    mask = Image.new("L", (right - left, bottom - top))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    x, y = at
    height, width = min(mask.height, image.shape[0] - y), min(mask.width, image.shape[1] - x)
    if height < 1 or width < 1:
        return
    ink = xp.asarray(Tensor.wrap(mask.tobytes(), "uint8", (mask.height, mask.width)))[:height, :width]
    share = xp.astype(ink, xp.float32)[:, :, None] / 255
    place = xp.asarray(image)
    under = xp.astype(place[y : y + height, x : x + width, :], xp.float32)
    inked = under + (xp.asarray([float(v) for v in color], dtype=xp.float32) - under) * share
    place[y : y + height, x : x + width, :] = xp.astype(xp.round(inked), xp.uint8)


def flat(height: int, width: int, color: tuple[int, int, int]) -> Tensor:
    """An image of one colour."""
    return cv.rectangle(Tensor((height, width, 3), "uint8"), (0, 0), (width, height), color, cv.FILLED)


def annotated(frame: Tensor, faces: list[Any], label: str, spoken: float, title: str) -> Tensor:
    """A frame with boxes around faces, the item's label and a bar that says how likely somebody speaks."""
    image = frame.copy()
    for x0, y0, x1, y1, score in faces:
        low = round(x0 * stream.WIDTH), round(y0 * stream.HEIGHT)
        cv.rectangle(image, low, (round(x1 * stream.WIDTH), round(y1 * stream.HEIGHT)), GREEN, 2, cv.LINE_AA)
        write(image, f"{score:.2f}", (max(low[0], 0), max(low[1] - 16, 0)), GREEN, 14)
    x, y, width, height = stream.WINDOW
    if label:
        cv.rectangle(image, (x - 3, y - 3), (x + width + 2, y + height + 2), AMBER, 3)
        cv.rectangle(image, (x - 3, y - 30), (x + width + 2, y - 3), AMBER, cv.FILLED)
        write(image, label, (x + 4, y - 24), DARK, 17)
    low, high = 120, stream.HEIGHT - 20
    cv.rectangle(image, (16, low), (34, high), DARK, cv.FILLED)
    cv.rectangle(image, (16, round(high - (high - low) * spoken)), (34, high), BLUE, cv.FILLED)
    cv.rectangle(image, (16, low), (34, high), WHITE, 1)
    write(image, "voice", (8, low - 22), WHITE, 16)
    write(image, title, (10, 10), WHITE, 22)
    return image


def chart(result: dict[str, Any], voice: list[float], seconds: float) -> Tensor:
    """Voice as bars, the largest face, the surest item and the score as lines, the moments as shades."""
    image = flat(CHART, WIDTH, DARK)
    top, bottom, width = LINE + 20, CHART - 30, WIDTH - 2 * EDGE
    count = len(result["scores"])

    def spot(share: float, value: float) -> tuple[int, int]:
        return EDGE + round(width * share), round(bottom - (bottom - top) * value)

    for moment in result["moments"]:
        low, high = spot(moment["begin"] / count, 1), spot(moment["end"] / count, 0)
        cv.rectangle(image, low, high, (70, 60, 50), cv.FILLED)
    for i, value in enumerate(voice):
        low, high = spot(i / len(voice), value), spot((i + 1) / len(voice), 0)
        cv.rectangle(image, low, (max(high[0] - 1, low[0]), high[1]), BLUE, cv.FILLED)
    lines = ((result["parts"]["face"], GREEN), (result["parts"]["item"], AMBER), (result["scores"], WHITE))
    for values, color in lines:
        points = [spot((i + 0.5) / count, v) for i, v in enumerate(values)]
        cv.polylines(image, [points], False, color, 2, cv.LINE_AA)
    for second in range(int(seconds) + 1):
        x, y = spot(second / seconds, 0)
        cv.line(image, (x, y), (x, y + 5), GREY)
        write(image, f"{second} s", (x - 8, y + 10), GREY, 14)
    for text, color, x in (("largest face", GREEN, 60), ("surest item", AMBER, 200), ("voice", BLUE, 340), ("score", WHITE, 430), ("moments are shaded", GREY, 530)):  # fmt: skip
        write(image, text, (x, 10), color, 18)
    return image


def draw(made: stream.Stream, found: dict[str, Any], names: list[str]) -> Tensor:
    """The whole picture: the moments side by side, the chart below."""
    result, strip = found["highlights"], []
    width = WIDTH // len(result["moments"])
    per_frame = len(found["voice"]) / len(made.frames)
    for place, moment in enumerate(result["moments"]):
        frame = moment["best"]
        number, share = found["items"][frame][0]
        label = f"{names[number]} {share:.0%}" if share > 0.5 else ""
        spoken = max(found["voice"][round(frame * per_frame) : round((frame + 1) * per_frame)], default=0.0)
        title = f"{place + 1}. at {frame / stream.FPS:.1f} s, score {moment['score']:.2f}: {', '.join(moment['why'])}"
        image = annotated(made.frames[frame], found["faces"][frame], label, spoken, title)
        size = width, width * stream.HEIGHT // stream.WIDTH
        strip.append(cv.resize(image, size, interpolation=cv.INTER_AREA))
    if width * len(strip) < WIDTH:
        strip.append(flat(strip[0].shape[0], WIDTH - width * len(strip), DARK))
    return cv.vconcat([cv.hconcat(strip), chart(result, found["voice"], len(made.frames) / stream.FPS)])
