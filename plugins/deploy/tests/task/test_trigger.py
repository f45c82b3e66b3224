"""Triggers in plain values compile to the patterns that one would write by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from walle_deploy.errors import TaskError
from walle_deploy.task.config import parse
from walle_deploy.task.toml import dumps
from walle_deploy.task.trigger import compile_trigger
from walle_deploy.task.where import Where

pipeline = pytest.importorskip("walle_pipeline")
from walle_pipeline.pattern import click, event, exposure, page_enter, page_exit, page_visit, scroll  # noqa: E402


def compiled(trigger):
    text = dumps({"task": {"name": "a"}, "trigger": trigger})
    return compile_trigger(parse(text).trigger)


def w(*tests):
    return Where(tuple(tests))


CASES = [
    ({"page_visit": "item"}, page_visit("item")),
    ({"page_visit": "*", "within": "2h", "timeouts": True}, page_visit().within(minutes=120).timeouts()),
    ({"steps": [{"kind": "click"}]}, click()),
    ({"steps": [{}]}, event()),
    ({"steps": [{"kind": "page_enter", "page": "item"}, {"kind": "click", "join": "next"}]},
     page_enter("item").next(click())),
    ({"steps": [{"kind": "scroll"}, {"kind": "exposure", "join": "followed_by_any"}], "after_match": "no_skip"},
     scroll().followed_by_any(exposure()).after_match("no_skip")),
    ({"steps": [{"kind": "click", "repeat": 3}, {"kind": "page_exit"}], "within": 60},
     click().repeat(3).followed_by(page_exit()).within(60)),
    ({"steps": [{"kind": "click", "repeat": {"least": 2}}], "within": "unbounded", "span": True},
     click().repeat(2, None).within(None).span()),
    ({"steps": [{"kind": "click", "repeat": {"least": 0, "most": 4, "consecutive": True}}, {"kind": "scroll"}]},
     click().repeat(0, 4, consecutive=True).followed_by(scroll())),
    ({"steps": [{"kind": "click", "optional": True, "repeat": 2}, {"kind": "scroll", "reluctant": True}]},
     click().repeat(2).optional().followed_by(scroll()).reluctant()),
    ({"steps": [{"kind": "page_enter"}, {"kind": "click", "not_before": [{"kind": "page_exit"}, {"kind": "scroll"}]}],
      "per_page": True, "after_match": "to_next"},
     page_enter().followed_by(click()).not_before(page_exit()).not_before(scroll()).per_page().after_match("to_next")),
    ({"steps": [{"kind": "cart", "where": {"widget": "buy", "contents.price": {"gt": 1.5, "in": [2, 3]}}}]},
     event("cart", where=w(("widget", "eq", "buy"), ("contents.price", "gt", 1.5), ("contents.price", "in", (2, 3))))),
]  # fmt: skip


@pytest.mark.parametrize(("trigger", "wanted"), CASES, ids=lambda v: str(v)[:40])
def test_the_language_of_patterns_is_covered(trigger, wanted):
    (made,) = compiled(trigger)
    assert str(made) == str(wanted)
    assert made == wanted


def test_every_public_step_of_a_pattern_has_a_case():
    """A step that the pipeline learns must be taught to walle.toml."""
    from walle_pipeline.pattern import Pattern

    methods = {n for n, f in vars(Pattern).items() if callable(f) and not n.startswith("_") and n != "check"}
    assert methods == {
        "next", "followed_by", "followed_by_any", "repeat", "optional", "reluctant", "not_before", "within",
        "after_match", "span", "per_page", "timeouts",
    }  # fmt: skip


kinds = st.sampled_from(["click", "scroll", "page_enter", "*", "cart"])
pages = st.sampled_from(["*", "item", "pay"])
comparisons = st.dictionaries(
    st.sampled_from(["widget", "price", "contents.a.b"]),
    st.one_of(
        st.integers(-5, 5), st.text(st.characters(codec="ascii", categories=["L"]), max_size=3),
        st.fixed_dictionaries({"gt": st.integers(0, 3)}, optional={"le": st.integers(4, 9)}),
        st.fixed_dictionaries({"in": st.lists(st.integers(0, 9), max_size=3)}),
    ),
    max_size=2,
)  # fmt: skip
occurrences = st.fixed_dictionaries({}, optional={"kind": kinds, "page": pages, "where": comparisons})
steps = st.builds(
    lambda base, more: {**base, **more},
    occurrences,
    st.fixed_dictionaries(
        {},
        optional={
            "join": st.sampled_from(["next", "followed_by", "followed_by_any"]),
            "repeat": st.one_of(st.integers(1, 9), st.fixed_dictionaries(
                {"least": st.integers(0, 3)}, optional={"most": st.integers(3, 9), "consecutive": st.booleans()})),
            "optional": st.booleans(), "reluctant": st.booleans(), "not_before": st.lists(occurrences, max_size=2),
        },
    ),
)  # fmt: skip
ORDER = ["eq", "ne", "lt", "le", "gt", "ge", "in"]


def by_hand(found):
    tests = []
    for path, comparison in found.get("where", {}).items():
        table = comparison if isinstance(comparison, dict) else {"eq": comparison}
        for name in sorted(table, key=ORDER.index):
            tests.append((path, name, tuple(table[name]) if name == "in" else table[name]))
    return event(found.get("kind", "*"), found.get("page", "*"), w(*tests) if tests else None)


@given(st.lists(steps, min_size=1, max_size=4), st.integers(1, 10_000))
@settings(max_examples=200, deadline=None)
def test_any_pattern_equals_the_one_written_by_hand(found, within):
    found[0] = {k: v for k, v in found[0].items() if k not in ("join", "not_before")}
    found[-1] = {k: v for k, v in found[-1].items() if k not in ("optional", "repeat")}
    pattern = None
    for step in found:
        one = by_hand(step)
        pattern = one if pattern is None else getattr(pattern, step.get("join", "followed_by"))(one)
        repeat = step.get("repeat", 1)
        if isinstance(repeat, dict):
            pattern = pattern.repeat(
                repeat["least"], repeat.get("most"), consecutive=repeat.get("consecutive", False)
            )
        else:
            pattern = pattern.repeat(repeat)
        pattern = pattern.optional() if step.get("optional") else pattern
        pattern = pattern.reluctant() if step.get("reluctant") else pattern
        for forbidden in step.get("not_before", []):
            pattern = pattern.not_before(by_hand(forbidden))
    pattern = pattern.within(within)
    (made,) = compiled({"steps": found, "within": within})
    assert (str(made), made) == (str(pattern), pattern)


@pytest.mark.parametrize(
    ("trigger", "message"),
    [
        ({"steps": [{"kind": "click", "optional": True}]}, "trigger: the last step, click"),
        ({"steps": [{"kind": "click", "not_before": [{}]}]}, "not_before on the first step"),
        ({"steps": [{"kind": "click", "repeat": 100}] * 3}, "300 steps"),
        ({"page_visit": "a", "within": "unbounded", "timeouts": True}, "needs a bound"),
        ({"any_of": [{"page_visit": "a"}, {"steps": []}]}, r"trigger.any_of\[1\]"),
    ],
)
def test_a_pattern_that_cannot_work_is_refused(trigger, message):
    with pytest.raises(TaskError, match=message):
        compiled(trigger)


def test_manual_and_several_patterns():
    assert compiled({"manual": True}) == ()
    assert compiled({"any_of": [{"page_visit": "a"}, {"steps": [{"kind": "click"}]}]}) == (
        page_visit("a"),
        click(),
    )


@pytest.mark.parametrize(
    ("test", "holds"),
    [
        (("widget", "eq", "buy"), True), (("widget", "ne", "buy"), False), (("price", "gt", 2), True),
        (("price", "lt", "a"), False), (("contents.tags", "contains", "new"), True), (("shop.city", "starts_with", "Ber"), True),
        (("shop.city", "ends_with", "lin"), True), (("shop.zip", "eq", 1), False), (("shop.zip", "exists", False), True),
        (("shop", "exists", True), True), (("page", "in", ("item", "a")), True), (("page", "not_in", ("item",)), False),
        (("shop.zip", "ne", 1), False), (("price", "starts_with", "3"), False),
    ],
)  # fmt: skip
def test_comparisons_of_contents(test, holds):
    from walle_pipeline.events import Click

    contents = {"price": 3, "tags": ["new"], "shop": {"city": "Berlin"}}
    assert w(test)(Click("item", 1, widget="buy", contents=contents)) is holds


def test_the_engine_matches_by_it():
    from walle_pipeline.events import Click
    from walle_pipeline.trigger import Trigger

    trigger = Trigger()
    trigger.add("a", *compiled({"steps": [{"kind": "click", "where": {"price": {"ge": 3}}}]}))
    events = [Click("item", n, id=n, contents={"price": n}) for n in range(5)]
    assert len(trigger.feed(events).matches) == 2
