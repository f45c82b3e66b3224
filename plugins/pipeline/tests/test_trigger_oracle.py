"""The engine against the oracle: random patterns, random events, several keys and tasks at once."""

from hypothesis import given, settings
from hypothesis import strategies as st
from pattern_oracle import matches
from walle_pipeline.events import Click, Exposure, PageEnter, Scroll
from walle_pipeline.pattern import AFTER_MATCH, Pattern, event
from walle_pipeline.trigger import Trigger

KINDS = [PageEnter, Click, Scroll, Exposure]
PAGES = ["a", "b"]


def heavy(event):
    return event.contents.get("n", 0) > 1


conditions = st.builds(
    event,
    st.sampled_from(["*", *[k.__struct_config__.tag for k in KINDS]]),
    st.sampled_from(["*", *PAGES]),
    st.sampled_from([None, None, None, heavy]),
)


@st.composite
def patterns(draw) -> Pattern:
    made = draw(conditions)
    count = draw(st.integers(1, 4))
    for index in range(count):
        if index:
            made = getattr(
                made, draw(st.sampled_from(["next", "followed_by", "followed_by", "followed_by_any"]))
            )(draw(conditions))
            if draw(st.integers(0, 3)) == 0:
                made = made.not_before(draw(conditions))
        if draw(st.integers(0, 3)) == 0:
            low = draw(st.integers(0 if index < count - 1 else 1, 2))
            high = draw(st.sampled_from([None, max(low, 1), low + 1, low + 2]))
            made = made.repeat(low, high, consecutive=draw(st.booleans()))
            if draw(st.booleans()):
                made = made.reluctant()
    return made.within(draw(st.sampled_from([None, 0.004, 0.008]))).after_match(
        draw(st.sampled_from(AFTER_MATCH))
    )


@st.composite
def sequences(draw):
    time, made = 0, []
    for number in range(draw(st.integers(0, 14))):
        time += draw(st.integers(0, 2))
        contents = {"n": draw(st.integers(0, 3))} if draw(st.booleans()) else {}
        made.append(
            draw(st.sampled_from(KINDS))(
                draw(st.sampled_from(PAGES)),
                time,
                draw(st.sampled_from(["u", "v"])),
                number,
                contents=contents,
            )
        )
    return made


def expected(pattern, events):
    found = []
    for key in ("u", "v"):
        own = [e for e in events if e.key == key]
        found += [(key, tuple(own[i].id for i in path)) for path in matches(pattern, own)]
    return sorted(found)


def got(fired):
    return sorted((m.key, tuple(e.id for e in m.events)) for m in fired)


@settings(max_examples=1500, deadline=None)
@given(st.lists(patterns(), min_size=1, max_size=4), sequences(), st.sampled_from([1, 4096]))
def test_engine_agrees_with_oracle(made, events, awake):
    trigger = Trigger(awake=awake)
    for number, pattern in enumerate(made):
        trigger.add(f"t{number}", pattern)
    found = [m for e in events for m in trigger.feed([e]).matches]
    found += trigger.finish().matches
    for number, pattern in enumerate(made):
        mine = [m for m in found if m.task == f"t{number}"]
        assert got(mine) == expected(pattern, events), str(pattern)
    original = {e.id: e for e in events}
    for match in found:
        assert [original[e.id] for e in match.events] == list(match.events)
    assert not trigger.engine.errors
