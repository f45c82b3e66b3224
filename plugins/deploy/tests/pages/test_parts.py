"""Words, axes, curves, plans from fields, differences."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages_html import Parsed
from walle_deploy.errors import ReleaseError
from walle_deploy.release.plan import plan_from
from walle_deploy.server.pages import plans, rendering, ticks, words
from walle_deploy.server.pages.curve import DRAWN, Chart, Line, thinned
from walle_deploy.server.pages.views.diff import coloured


@pytest.mark.parametrize(
    "told, wanted",
    [
        (words.count(1234567), "1,234,567"),
        (words.compact(950), "950"),
        (words.compact(12345), "12.3 k"),
        (words.compact(1_234_567), "1.23 M"),
        (words.share(0.0123), "1.23 %"),
        (words.share(1), "100 %"),
        (words.share(0), "0 %"),
        (words.share(0.000001), "0.0001 %"),
        (words.size(999), "999 B"),
        (words.size(1536), "1.54 kB"),
        (words.size(3e9), "3 GB"),
        (words.number(None), "∞"),
        (words.number(0.0), "0"),
        (words.number(4.4e-9), "4.40e-09"),
        (words.number(142.857), "143"),
        (words.span(0), "0 s"),
        (words.span(0.25), "0.25 s"),
        (words.span(59.9), "1 min"),
        (words.span(200), "3 min 20 s"),
        (words.span(3600), "1 h"),
        (words.span(3605), "1 h"),
        (words.span(90061), "1 d 1 h"),
        (words.moment(0), "–"),
        (words.moment(1e30), "–"),
        (words.moment(1_800_000_000), "2027-01-15 08:00:00 UTC"),
        (words.machine(1_800_000_000), "2027-01-15T08:00:00Z"),
        (words.ago(100, 300), "3 min 20 s ago"),
        (words.ago(300, 100), "in 3 min 20 s"),
        (words.ago(300, 300.5), "now"),
        (words.ago(1_700_000_000, 1_800_000_000), "2023-11-14"),
        (words.brief("abcdef", 4), "abc…"),
    ],
)
def test_words(told, wanted):
    assert told == wanted


@given(st.floats(allow_nan=False))
def test_any_number_can_be_told(value):
    for function in (words.number, words.share, words.moment, words.machine):
        if abs(value) < 1e300:
            assert function(value)[:60] is not None
    words.ago(value, 0.0)


@given(st.floats(1e-9, 1e12))
def test_axes_have_few_round_marks_that_reach_the_largest_value(most):
    found = ticks.numbers(most)
    assert found[0] == 0
    assert found[-1] >= most * (1 - 1e-9)
    assert 2 <= len(found) <= 7


@given(st.floats(0, 4e9), st.floats(0, 4e8))
def test_times_are_between_the_ends(start, length):
    found = ticks.times(start, start + length)
    assert len(found) <= 5
    assert all(start - 1e-6 <= at <= start + length for at, _ in found)


def chart(lines, span=(0.0, 100.0), most=None):
    return Chart("k", "Title <&>", "Words <&>", lines, [(50.0, "2")], words.share, span, most)


def test_a_chart_is_a_picture_with_words():
    made = str(chart([Line("new", "new", [(0.0, 0.1), (100.0, 0.5)]), Line("none", "old", [])]).svg())
    page = Parsed(made)
    assert not page.wrong
    assert "Title <&>" in page.text and "Words <&>" in page.text and "<&>" not in made
    (svg, *_) = page.all("svg")
    assert svg["role"] == "img" and svg["aria-labelledby"] == "k-title k-words"
    assert [line["points"] for line in page.all("polyline")] == ["0,833 1000,167"]
    assert "60 %" in page.text and "0 %" in page.text


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 1e9)), min_size=1, max_size=50))
def test_any_points_can_be_drawn(points):
    made = str(chart([Line("x", "new", sorted(points), steps=True)], most=1.0).svg())
    assert not Parsed(made).wrong
    for x, y in re.findall(r"(-?\d+),(-?\d+)", made.partition("<polyline")[2]):
        assert 0 <= int(x) <= 1000 and 0 <= int(y) <= 1000


def test_thinning_keeps_the_ends_and_the_extremes():
    points = [(float(at), 0.0) for at in range(10_000)]
    points[4321] = (4321.0, 9.0)
    found = thinned(points)
    assert len(found) <= DRAWN + 2
    assert {points[0], points[-1], points[4321]} <= set(found)
    assert found == sorted(found)


FORM = {"gray": "1, 10 50%", "minutes": "10", "reports": "100", "watch": "60", "approval": "on"}


def test_a_plan_from_fields():
    made = plan_from(plans.plan_of({**FORM, "simulation": "on", "beta": "a, b\nc", "budget": "500"}))
    assert [stage.title for stage in made.stages] == [
        "simulation",
        "beta",
        "gray 1 %",
        "gray 10 %",
        "gray 50 %",
        "full",
    ]
    assert made.stages[1].devices == ("a", "b", "c")
    assert [gate["kind"] for gate in made.stages[4].gates] == ["time", "sample", "budget", "approval"]
    assert [gate["kind"] for gate in made.stages[5].gates] == ["budget"]
    assert made.watch == 3600


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"gray": "5"},
        plans.FIRST,
        {**FORM, "segment": "staff"},
        {"plan": "stages = [{kind = 'full', control = 0}]\nwatch = 0"},
    ],
)
def test_few_fields_make_a_plan_too(fields):
    assert plan_from(plans.plan_of(fields)).stages[-1].kind == "full"


@pytest.mark.parametrize(
    "fields, why",
    [
        ({"gray": "1; ten"}, "'ten' is no number"),
        ({"minutes": "x"}, "Minutes a stage lasts at least: 'x' is no number"),
        ({"reports": "-1"}, "must be from 0"),
        ({"watch": "inf"}, "must be from 0"),
        ({"budget": "nan"}, "must be from 0"),
        ({"approval": "on"}, "no stage before"),
        ({"plan": "{"}, "neither JSON nor TOML"),
        ({"plan": "[" * 9000}, "neither JSON nor TOML"),
        ({"plan": "x" * 20_000}, "more than 16384 characters"),
    ],
)
def test_fields_that_make_no_plan(fields, why):
    with pytest.raises(ReleaseError, match=re.escape(why)):
        plans.plan_of(fields)


def test_gates_in_words():
    kinds = [
        {"kind": "time", "seconds": 300}, {"kind": "sample", "reports": 4000}, {"kind": "approval", "approvers": 2, "roles": ["qa"]},
        {"kind": "budget", "per_minute": 10}, {"kind": "metric", "name": "ms", "worse": "higher", "margin": 2.5, "proven": True},
        {"kind": "moon", "phase": "full"},
    ]  # fmt: skip
    assert [plans.gate_words(kind) for kind in kinds] == [
        "at least 5 min", "4,000 reports of each arm", "2 approvals (qa)", "at most 10 devices a minute",
        "ms not higher by more than 2.5, proven", "moon (phase full)",
    ]  # fmt: skip


def test_differences_are_marked_and_cut():
    text = "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-<old>\n+new\u202e\n same\n"
    made, left_out = coloured(text, 10_000)
    assert left_out == 0
    assert made == (
        '<span class="at">@@ -1 +1 @@</span><span class="minus">-&lt;old&gt;</span><span class="plus">+new\ufffd</span>'
        "<span> same</span>"
    )
    made, left_out = coloured(text, 60)
    assert left_out == 3


@pytest.mark.parametrize("text", ["a\x00b", "a\x1bb", "\ud800", "\u202etxt.exe", "\x7f", "\x85"])
def test_what_a_page_cannot_have_is_replaced(text):
    made = rendering.environment().from_string("{{ text }}").render(text=text)
    assert "\ufffd" in made and made.isprintable()


def test_long_texts_are_cut_unless_they_go_back():
    render = rendering.environment().from_string
    assert len(render("{{ text }}").render(text="x" * 9999)) == 2001
    assert render("{{ text | whole }}").render(text="<" * 9999) == "&lt;" * 9999
