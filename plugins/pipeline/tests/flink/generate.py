"""Writes random patterns, sequences of events and the matches that the trigger engine finds, for compare.py.

    python generate.py FOLDER [--patterns 300] [--keys 334] [--seed 1]

Needs walle_pipeline, not Flink. Every pattern has `--keys` sequences of its own. FOLDER gets, per batch of patterns,
``batch-N.csv`` with the events and ``batch-N.jsonl`` with one pattern a line: its text, its MATCH_RECOGNIZE clauses, and
its matches as pairs of a key and a bit set of the events that were taken.

How a pattern is written in SQL:

* `next`: the variable ``E`` of the step follows in PATTERN. `followed_by`: before it a reluctant run of rows, ``G*?``,
  defined as not the awaited condition. `not_before`: that run also excludes the forbidden condition.
* `repeat(consecutive=True)`, `optional`: a quantifier. `repeat` that passes over events: once per repeat ``G*? E``; a
  number without bound ends in one run, ``R*?``, of which the rows that satisfy the step are counted as taken.
* A greedy repeat before a step that must be there and follows at once is left to Flink's own greedy quantifier, which
  also decides row by row, without going back. One exception: after n rows of A, Flink still keeps a row that satisfies A
  from B in ``A{m,n} B``, though by the definition of MATCH_RECOGNIZE it is a match; so, where an event may satisfy both:
* Flink takes no greedy quantifier before an optional variable or at the end, has no reluctant ``?``, and follows the
  branches of ``?``, ``*?``, ``+?`` and ``{m,n}?`` all at once. There the rule of one decision per event is part of DEFINE:
  a row is not of a variable while another one that comes first may take it. ``COUNT(E.id)`` tells which may.
* The last step: its minimum, since a match ends there.

Not in the common subset: `followed_by_any` and `no_skip` (no such thing in MATCH_RECOGNIZE), `span`, `per_page`,
`timeouts` (not about which events match); and what would need a quantifier on a group of variables, which Flink does not
have: a step that may be missing after `followed_by`, and a `repeat` of varying number that passes over events if it may be
missing or if the next step is not joined by `followed_by`.

Rows of a key are in the order of time and id; times may be equal.
"""

import argparse
import csv
import json
import random
from pathlib import Path

import attrs
from walle_pipeline.events import Click, Exposure, PageEnter, Scroll
from walle_pipeline.pattern import SKIP, event
from walle_pipeline.trigger import Trigger

KINDS = [PageEnter, Click, Scroll, Exposure]
TAGS = [kind.__struct_config__.tag for kind in KINDS]
PAGES = ["a", "b"]
END = "end"  # kind of a row that satisfies nothing: it follows where no `within` ends what is waiting
AFTER = {"past_last": "PAST LAST ROW", "to_next": "TO NEXT ROW"}
BATCH = 25


def heavy(event):
    return event.contents.get("n", 0) > 1


def condition(draw):
    return event(
        draw.choice(["*", *TAGS, *TAGS]), draw.choice(["*", *PAGES]), draw.choice([None, None, None, heavy])
    )


def pattern(draw):
    made, count = condition(draw), draw.randint(1, 4)
    for index in range(count):
        if index:
            made = getattr(made, draw.choice(["next", "followed_by"]))(condition(draw))
            if draw.random() < 0.25:
                made = made.not_before(condition(draw))
        if draw.random() < 0.5:
            low = draw.randint(0 if index < count - 1 else 1, 2)
            high = draw.choice([None, max(low, 1), max(low, 1) + 1, low + 2])
            made = made.repeat(low, high, consecutive=draw.random() < 0.6)
            if draw.random() < 0.5:
                made = made.reluctant()
    return made.within(draw.choice([None, 4, 8])).after_match(draw.choice(list(AFTER)))


def shared(made):
    """Is the pattern in the common subset?"""
    for index, step in enumerate(made.steps):
        last = index == len(made.steps) - 1
        if index and step.mode == SKIP and step.minimum == 0:
            return False
        passing = not (step.consecutive or step.minimum == step.maximum or step.maximum == 1 or last)
        if passing and (step.minimum == 0 or made.steps[index + 1].mode != SKIP):
            return False
    return True


def count(name):
    return f"COUNT({name}.id)"


def quantifier(low, high, greedy):
    if (low, high) == (0, 1):
        return "?"
    if low == high:
        return "" if low == 1 else f"{{{low}}}"
    text = {(0, None): "*", (1, None): "+"}.get((low, high), f"{{{low},{'' if high is None else high}}}")
    return text + ("" if greedy else "?")


@attrs.define
class Variable:
    """One variable of the PATTERN clause."""

    name: str
    times: str
    terms: list  # what DEFINE wants, with {0} for the name
    takes: str | None = "{0}.mask"  # what SUM adds up to the events taken; None: nothing

    def where(self, *terms):
        self.terms += terms


def test(condition):
    """A condition in SQL, with {0} for the variable."""
    terms = ["{0}.kind = '" + condition.kind + "'"] * (condition.kind != "*")
    terms += ["{0}.page = '" + condition.page + "'"] * (condition.page != "*")
    terms += ["{0}.heavy = 1"] * (condition.where is not None)
    return f"({' AND '.join(terms) or '1 = 1'})"


def overlap(one, other):
    """May an event satisfy both?"""
    pairs = (one.kind, other.kind), (one.page, other.page)
    return all("*" in pair or pair[0] == pair[1] for pair in pairs)


def unless(*terms):
    return f"NOT ({' AND '.join(terms)})"


@attrs.frozen
class Passed:
    """What a repeat that passes over events leaves to the step after it.

    Attributes:
        run: is the run before the step there already?
        gap: what a row of that run must satisfy.
        first: what the first row of the step must satisfy.
    """

    run: bool
    gap: list
    first: list


class Query:
    """The variables of a pattern, in order."""

    def __init__(self, made):
        self.made = made
        self.variables = []
        self.of_step = {}  # number of a step -> its first variable
        self.passed = None
        for index in range(len(made.steps)):
            self.step(index)

    def add(self, letter, times, *terms, takes="{0}.mask"):
        made = Variable(f"{letter}{len(self.variables)}", times, list(terms), takes)
        self.variables.append(made)
        return made

    def gap(self, *without):
        return self.add("G", "*?", *(unless(test(c)) for c in without), takes=None)

    def before(self, index):
        """Steps that may still be waiting, or repeating, when the step is awaited; the nearest first."""
        for earlier in range(index - 1, -1, -1):
            yield earlier
            if self.made.steps[earlier].minimum:
                return

    def rivals(self, index, mine, gap):
        """What keeps a row that an earlier step takes from `mine`, the step's first variable or the run `gap` before it."""
        untaken = []
        for earlier in self.before(index):
            other, name = self.made.steps[earlier], self.of_step[earlier].name
            left = mine is not gap and earlier == index - 1 and self.native(earlier)
            if other.minimum != other.maximum and (other.consecutive or other.maximum == 1) and not left:
                terms = [test(other.condition), *untaken, f"{count('{0}')} <= 1"]
                if other.maximum is not None:
                    terms.append(f"{count(name)} < {other.maximum}")
                if gap is not None and mine is not gap:
                    terms.append(f"{count(gap.name)} = 0")
                if mine is not gap and not other.greedy:
                    terms.append(f"{count(name)} = 0")
                yield unless(*terms)
            if mine is gap and other.minimum == 0:
                for forbidden in other.forbids:
                    yield unless(test(forbidden), f"{count(name)} = 0")
            untaken.append(f"{count(name)} = 0")
        if mine is gap and not any(s.minimum for s in self.made.steps[:index]):
            yield f"({' + '.join(count(self.of_step[i].name) for i in range(index))}) > 0"

    def step(self, index):
        steps, step = self.made.steps, self.made.steps[index]
        last = index == len(steps) - 1
        low, high = step.minimum, step.minimum if last else step.maximum
        following = [] if last else [steps[index + 1]]
        while following and following[-1].minimum == 0:
            following.append(steps[index + 1 + len(following)])
        gap, passed, self.passed = None, self.passed, None
        if index and step.mode == SKIP and not (passed and passed.run):
            gap = self.gap(step.condition, *step.forbids)
            gap.where(*(passed.gap if passed else self.rivals(index, gap, gap)))
        single = step.consecutive or high == 1
        times = quantifier(low, high, not last and self.native(index)) if single else ""
        mine = self.of_step[index] = self.add("E", times, test(step.condition))
        if passed:
            mine.where(*passed.first)
        else:
            mine.where(*self.rivals(index, mine, gap))
        if single:
            if low != high and not step.greedy:
                for other in following:
                    mine.where(unless(test(other.condition), f"{count('{0}')} > {max(low, 1)}"))
            return
        for _ in range(low - 1):
            self.gap(step.condition)
            self.add("E", "", test(step.condition))
        if low != high:
            self.passing(step, low, high, following[0])

    def native(self, index):
        """Is the step's greedy repeat left to Flink?"""
        step, after = self.made.steps[index], self.made.steps[index + 1]
        if not step.greedy or not step.consecutive or step.minimum == step.maximum or step.maximum == 1:
            return False
        if after.mode == SKIP or after.minimum == 0:
            return False
        return step.maximum is None or not overlap(step.condition, after.condition)

    def passing(self, step, low, high, after):
        """The further repeats of a step that passes over events."""
        own, ends = test(step.condition), test(after.condition)
        if high is None:
            free = " AND ".join(unless(t) for t in [ends, *map(test, after.forbids)])
            run = self.add("R", "*?", takes=f"CASE WHEN {own} THEN {{0}}.mask ELSE 0 END")
            run.where(f"({own} OR {free})", *([] if step.greedy else [unless(ends)]))
            first = [unless(own, f"{count('{0}')} <= 1")] if step.greedy else []
            self.passed = Passed(True, [], first)
            return
        before = []
        for _ in range(high - low):
            gap = self.gap(step.condition, after.condition, *after.forbids)
            more = self.add("E", "?", own, *([] if step.greedy else [unless(ends)]))
            gap.where(*before)
            more.where(*before)
            before = [f"{count(more.name)} > 0"]
        first = [unless(own, f"{count(more.name)} = 0", f"{count('{0}')} <= 1")] if step.greedy else []
        self.passed = Passed(False, before, first)

    def sql(self):
        taken = " + ".join(
            f"COALESCE(SUM({v.takes.format(v.name)}), 0)" for v in self.variables if v.takes is not None
        )
        sequence = " ".join(v.name + v.times for v in self.variables)
        defines = ", ".join(
            f"{v.name} AS " + " AND ".join(["{0}.kind <> '" + END + "'", *v.terms]).format(v.name)
            for v in self.variables
        )
        within = self.made.within_ms
        limit = "" if within is None else f"WITHIN INTERVAL '{within // 1000}' SECOND "
        return (
            f"MEASURES {taken} AS taken ONE ROW PER MATCH AFTER MATCH SKIP {AFTER[self.made.after]} "
            f"PATTERN ({sequence}) {limit}DEFINE {defines}"
        )


def events(draw, key):
    time, made = draw.randrange(1000), []
    for number in range(draw.randint(1, 14)):
        time += draw.randint(0, 2)
        contents = {"n": draw.randint(0, 3)} if draw.random() < 0.5 else {}
        made.append(draw.choice(KINDS)(draw.choice(PAGES), time * 1000, str(key), number, contents=contents))
    return made


def matched(made, sequence):
    trigger = Trigger()
    trigger.add("t", made)
    found = trigger.feed(sequence).matches + trigger.finish().matches
    assert not trigger.engine.errors
    return [(int(match.key), sum(1 << e.id for e in match.events)) for match in found]


def batch(draw, path, patterns, keys):
    rows = []
    with open(path.with_suffix(".jsonl"), "w") as out:
        for number in range(patterns):
            made = pattern(draw)
            while not shared(made):
                made = pattern(draw)
            matches = []
            for key in range(number * keys, (number + 1) * keys):
                sequence = events(draw, key)
                matches += matched(made, sequence)
                rows += [
                    (number, key, e.id, e.kind, e.page, int(heavy(e)), 1 << e.id, e.time) for e in sequence
                ]
                if made.within_ms is None:
                    last = sequence[-1]
                    rows.append((number, key, last.id + 1, END, "", 0, 0, last.time + 1000))
            case = {"pattern": str(made), "within": made.within_ms, "after": made.after}
            out.write(json.dumps({**case, "sql": Query(made).sql(), "matches": matches}) + "\n")
    rows.sort(key=lambda row: (row[-1], row[1], row[2]))
    with open(path.with_suffix(".csv"), "w", newline="") as out:
        csv.writer(out, lineterminator="\n").writerows(rows)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patterns", type=int, default=300)
    parser.add_argument("--keys", type=int, default=334, help="sequences of each pattern")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    for old in options.folder.glob("batch-*"):
        old.unlink()
    for number, start in enumerate(range(0, options.patterns, BATCH)):
        path = options.folder / f"batch-{number:03}"
        batch(draw, path, min(BATCH, options.patterns - start), options.keys)


if __name__ == "__main__":
    main()
