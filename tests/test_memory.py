"""Arena planning: nothing that is live overlaps, and the arena stays near the lower bound."""

from hypothesis import given
from hypothesis import strategies as st

from walle_core.memory import ALIGN, Lifetime, lower_bound, plan_arena


@st.composite
def lifetimes(draw):
    first = draw(st.integers(0, 30))
    return Lifetime(draw(st.integers(1, 5000)), first, first + draw(st.integers(0, 10)))


@given(st.lists(lifetimes(), max_size=40))
def test_live_buffers_never_overlap(items):
    plan = plan_arena(items)
    assert plan.lower_bound == lower_bound(items) <= plan.nbytes
    for i, a in enumerate(items):
        assert plan.offsets[i] % ALIGN == 0 and plan.offsets[i] + a.nbytes <= plan.nbytes
        for j, b in enumerate(items[:i]):
            if a.first <= b.last and b.first <= a.last:
                apart = (
                    plan.offsets[i] + a.nbytes <= plan.offsets[j]
                    or plan.offsets[j] + b.nbytes <= plan.offsets[i]
                )
                assert apart


def test_a_chain_needs_two_buffers():
    chain = [Lifetime(1024, i, i + 1) for i in range(20)]
    assert plan_arena(chain).nbytes == 2048


def test_a_residual_block_reaches_the_bound():
    block = []
    for i in range(0, 40, 4):
        block += [
            Lifetime(4096, i, i + 4),
            Lifetime(1024, i + 1, i + 2),
            Lifetime(1024, i + 2, i + 3),
            Lifetime(512, i + 3, i + 4),
        ]
    plan = plan_arena(block)
    assert plan.nbytes <= 1.1 * plan.lower_bound
