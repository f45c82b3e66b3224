"""Writes random patterns, sequences of events and the matches that the trigger engine finds, for compare.py.

    python generate.py FOLDER [--patterns 300] [--keys 334] [--seed 1]

Needs walle_pipeline, not Flink. Every pattern has `--keys` sequences of its own. FOLDER gets, per batch of patterns,
``batch-N.csv`` with the events and ``batch-N.jsonl`` with one pattern a line: its text, its MATCH_RECOGNIZE clauses, and
its matches as pairs of a key and a bit set of the events that were taken.

What is common to both engines, and how it is written in SQL:

* `next`: the variable follows in PATTERN. `followed_by`: before it a reluctant run of rows, ``G*?``, defined as not the
  awaited condition. `not_before`: that run also excludes the forbidden condition.
"""

import argparse
import csv
import json
import random
from pathlib import Path

import attrs
from walle_pipeline.events import Click, Exposure, PageEnter, Scroll
from walle_pipeline.pattern import SKIP, STRICT, Pattern, event
from walle_pipeline.trigger import Trigger

KINDS = [PageEnter, Click, Scroll, Exposure]
TAGS = [kind.__struct_config__.tag for kind in KINDS]
PAGES = ["a", "b"]
END = "end"  # kind of a row that satisfies nothing: it follows where no `within` ends what is waiting
AFTER = {"past_last": "PAST LAST ROW", "to_next": "TO NEXT ROW"}
CELLS = [(kind, page, heavy) for kind in TAGS for page in PAGES for heavy in (False, True)]
BATCH = 25


def heavy(event):
    return event.contents.get("n", 0) > 1


def cells(condition):
    """Which events satisfy it, as all that a condition can tell of an event."""
    return {
        cell
        for cell in CELLS
        if condition.kind in ("*", cell[0])
        and condition.page in ("*", cell[1])
        and (condition.where is None or cell[2])
    }


def condition(draw):
    return event(
        draw.choice(["*", *TAGS, *TAGS]), draw.choice(["*", *PAGES]), draw.choice([None, None, None, heavy])
    )


def pattern(draw):
    count = draw.randint(1, 4)
    made = condition(draw)
    for index in range(count):
        if index:
            made = getattr(made, draw.choice(["next", "followed_by"]))(condition(draw))
            if draw.random() < 0.25:
                made = made.not_before(condition(draw))
        if draw.random() < 0.45:
            low = draw.randint(0 if index < count - 1 else 1, 2)
            high = draw.choice([None, max(low, 1), max(low, 1) + 1, low + 2])
            made = made.repeat(low, high, consecutive=draw.random() < 0.7)
            if draw.random() < 0.5:
                made = made.reluctant()
    return made.within(draw.choice([None, 4, 8])).after_match(draw.choice(list(AFTER)))


def tags(made):
    steps, out = made.steps, set()
    for index, step in enumerate(steps[:-1]):
        if step.minimum == step.maximum:
            continue
        name = (
            "optional"
            if step.maximum == 1
            else ("greedy" if step.greedy else "reluctant")
            + ("-inf" if step.maximum is None else "-max")
            + ("0" if not step.minimum else "")
        )
        for later in range(index + 1, len(steps)):
            gap = steps[later].mode == SKIP
            if gap:
                out.add(name + " gap" + str(later - index))
            if cells(step.condition) & cells(steps[later].condition):
                out.add(name + (" gap" if gap else "") + " overlap" + str(min(later - index, 2)))
            if steps[later].minimum:
                break
    return sorted(out)


def excluded(made):
    """Why a pattern is not in the common subset; None if it is."""
    steps = made.steps
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        fixed = last or step.minimum == step.maximum
        if step.mode == SKIP and index and step.minimum == 0:
            return "optional after a gap"
        if not step.consecutive and not fixed and step.maximum != 1:
            return "group"
        if (step.minimum, step.maximum) == (0, 1) and not step.greedy:
            return "A??"
    return None


def defined(name, condition, *without):
    terms = [f"{name}.kind <> '{END}'"]
    test = lambda c: " AND ".join(  # noqa: E731
        [f"{name}.kind = '{c.kind}'"] * (c.kind != "*")
        + [f"{name}.page = '{c.page}'"] * (c.page != "*")
        + [f"{name}.heavy = 1"] * (c.where is not None)
    )
    if condition is not None and test(condition):
        terms.append(test(condition))
    terms += [f"NOT ({test(c) or '1 = 1'})" for c in without]
    return f"{name} AS {' AND '.join(terms)}"


def quantifier(step, last):
    low, high = step.minimum, step.maximum
    if last or low == high:
        return "" if low == 1 else f"{{{low}}}"
    if (low, high) == (0, 1):
        return "?"
    text = {(0, None): "*", (1, None): "+"}.get((low, high), f"{{{low},{'' if high is None else high}}}")
    return text + ("" if step.greedy else "?")


def clauses(made):
    """The pattern as MEASURES, AFTER MATCH, PATTERN, WITHIN and DEFINE."""
    names, sequence, defines = [], [], []

    def gap(*without):
        name = f"G{len(defines)}"
        sequence.append(f"{name}*?")
        defines.append(defined(name, None, *without))

    def take(step, times):
        name = f"E{len(defines)}"
        names.append(name)
        sequence.append(name + times)
        defines.append(defined(name, step.condition))

    for index, step in enumerate(made.steps):
        if index and step.mode != STRICT:
            gap(step.condition, *step.forbids)
        last = index == len(made.steps) - 1
        if step.consecutive or (step.minimum, step.maximum) == (0, 1):
            weak = not last and (made.steps[index + 1].mode == SKIP or made.steps[index + 1].minimum == 0)
            take(
                attrs.evolve(step, greedy=False) if weak and step.maximum != 1 else step,
                quantifier(step, last)
                if not weak or step.maximum == 1
                else quantifier(attrs.evolve(step, greedy=False), last),
            )
        else:
            for number in range(step.minimum):
                if number:
                    gap(step.condition)
                take(step, "")
    bits = " + ".join(f"COALESCE(SUM({name}.mask), 0)" for name in names)
    within = "" if made.within_ms is None else f"WITHIN INTERVAL '{made.within_ms // 1000}' SECOND"
    return (
        f"MEASURES {bits} AS bits ONE ROW PER MATCH AFTER MATCH SKIP {AFTER[made.after]} "
        f"PATTERN ({' '.join(sequence)}) {within} DEFINE {', '.join(defines)}"
    )


def events(draw, key):
    time, made = draw.randrange(1000), []
    for number in range(draw.randint(1, 14)):
        time += draw.randint(0, 2)
        contents = {"n": draw.randint(0, 3)} if draw.random() < 0.5 else {}
        made.append(draw.choice(KINDS)(draw.choice(PAGES), time * 1000, str(key), number, contents=contents))
    return made


def matched(made: Pattern, sequence):
    trigger = Trigger()
    trigger.add("t", made)
    found = trigger.feed(sequence).matches + trigger.finish().matches
    assert not trigger.engine.errors
    return [(int(match.key), sum(1 << e.id for e in match.events)) for match in found]


def batch(draw, folder, number, patterns, keys):
    rows, key = [], 0
    with open(folder / f"batch-{number:03}.jsonl", "w") as out:
        for index in range(patterns):
            made = pattern(draw)
            while excluded(made):
                made = pattern(draw)
            matches = []
            for key in range(key + 1, key + 1 + keys):
                sequence = events(draw, key)
                matches += matched(made, sequence)
                rows += [
                    (index, key, e.id, e.kind, e.page, int(heavy(e)), 1 << e.id, e.time) for e in sequence
                ]
                if made.within_ms is None:
                    last = sequence[-1]
                    rows.append((index, key, last.id + 1, END, "", 0, 0, last.time + 1000))
            case = {"pattern": str(made), "within": made.within_ms, "after": made.after, "tags": tags(made)}
            out.write(json.dumps({**case, "sql": clauses(made), "matches": matches}) + "\n")
    rows.sort(key=lambda row: (row[-1], row[1], row[2]))
    with open(folder / f"batch-{number:03}.csv", "w", newline="") as out:
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
        batch(draw, options.folder, number, min(BATCH, options.patterns - start), options.keys)


if __name__ == "__main__":
    main()
