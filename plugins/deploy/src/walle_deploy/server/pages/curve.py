"""Curves over time as inline SVG: drawn here, without a script, legible at every width, and told in words as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from markupsafe import Markup, escape

from walle_deploy.server.pages import ticks

Point = tuple[float, float]

HEIGHT = 200  # pixels of the plot
GRID = 1000  # the plot's own units, stretched to its pixels
DRAWN = 240  # points of a line at most: more than pixels are wide help nobody


@attrs.frozen
class Line:
    """One line of a chart.

    Attributes:
        name: in the legend.
        look: class of the style sheet; lines differ by their dashes, not by colour alone.
        points: time (seconds) and value, in order of time.
        steps: whether a value holds until the next one.
    """

    name: str
    look: str
    points: Sequence[Point]
    steps: bool = False


@attrs.frozen
class Chart:
    """What is drawn.

    Attributes:
        key: of the elements' ids.
        title: what it is about, with the unit.
        words: the same in one or two sentences, for those who do not see it.
        lines: at most three.
        marks: times at which a stage began, with its number.
        label: writes a value of the vertical axis.
        times: where the horizontal axis begins and ends.
        most: upper end of the vertical axis; None for the largest value.
    """

    key: str
    title: str
    words: str
    lines: Sequence[Line]
    marks: Sequence[tuple[float, str]]
    label: Callable[[float], str]
    times: tuple[float, float]
    most: float | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.points for line in self.lines)

    def svg(self) -> Markup:
        """The picture."""
        most = (
            max(value for line in self.lines for _, value in line.points) if self.most is None else self.most
        )
        start, end = self.times[0], max(self.times[1], self.times[0] + 1.0)
        rows = ticks.numbers(most)
        top = rows[-1]
        head = Markup(
            '<svg class="plot" height="{}" role="img" aria-labelledby="{}-title {}-words">'
            '<title id="{}-title">{}</title><desc id="{}-words">{}</desc>'
        ).format(HEIGHT, self.key, self.key, self.key, self.title, self.key, self.words)
        parts = [head, *(self._row(value, value / top) for value in rows)]
        parts += [self._column(text, (at - start) / (end - start)) for at, text in ticks.times(start, end)]
        parts += [
            self._mark(text, (at - start) / (end - start)) for at, text in self.marks if start <= at <= end
        ]
        parts.append(Markup('<svg viewBox="0 0 {g} {g}" preserveAspectRatio="none">').format(g=GRID))
        parts += [_path(line, start, end, top) for line in self.lines if line.points]
        return Markup("").join([*parts, Markup("</svg></svg>")])

    def _row(self, value: float, part: float) -> Markup:
        y = f"{(1 - part) * 100:.2f}%"
        return Markup(
            '<line class="row" x1="0" x2="100%" y1="{}" y2="{}"/><text class="y" x="-8" y="{}">{}</text>'
        ).format(y, y, y, self.label(value))

    def _column(self, text: str, part: float) -> Markup:
        x = f"{part * 100:.2f}%"
        return Markup(
            '<line class="tick" x1="{}" x2="{}" y1="{}" y2="{}"/><text class="x" x="{}" y="{}">{}</text>'
        ).format(x, x, HEIGHT, HEIGHT + 4, x, HEIGHT + 18, text)

    def _mark(self, text: str, part: float) -> Markup:
        x = f"{part * 100:.2f}%"
        return Markup(
            '<line class="mark" x1="{}" x2="{}" y1="0" y2="100%"/><text class="mark" x="{}" y="-6">{}</text>'
        ).format(x, x, x, text)


def _path(line: Line, start: float, end: float, top: float) -> Markup:
    words: list[str] = []
    last = ""
    for at, value in thinned(line.points):
        x = f"{(at - start) / (end - start) * GRID:.0f}"
        y = f"{(1 - min(value / top, 1.0)) * GRID:.0f}"
        if line.steps and words:
            words.append(f"{x},{last}")
        words.append(f"{x},{y}")
        last = y
    if len(words) == 1:  # one point is no line
        words.append(f"{GRID},{last}")
    return Markup('<polyline class="{}" points="{}"/>').format(line.look, " ".join(words))


def thinned(points: Sequence[Point], most: int = DRAWN) -> list[Point]:
    """At most about `most` points: of each stretch the lowest and the highest, and the first and the last of all."""
    if len(points) <= most:
        return list(points)
    width = len(points) / (most / 2)
    kept = {0, len(points) - 1}
    for number in range(most // 2):
        stretch = range(int(number * width), min(int((number + 1) * width), len(points)))
        kept.add(min(stretch, key=lambda at: points[at][1]))
        kept.add(max(stretch, key=lambda at: points[at][1]))
    return [points[at] for at in sorted(kept)]


def legend(lines: Sequence[Line]) -> Markup:
    """A sample of each line with its name."""
    made = [
        Markup(
            '<li><svg class="sample" width="28" height="10" aria-hidden="true">'
            '<line class="{}" x1="0" x2="28" y1="5" y2="5"/></svg>{}</li>'
        ).format(line.look, escape(line.name))
        for line in lines
    ]
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(made))
