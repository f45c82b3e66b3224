"""Random policies and random profiles that have something to do with each other."""

from hypothesis import strategies as st
from walle_deploy.profile import Profile

NAMES = ["os", "os_version", "memory_mb", "backends", "__class__", "class", "flag", "größe"]
WORDS = ["android", "ios", "12", "12.0", "12.10", "12.9", "13-beta", "13", "", "__dict__", "None", "é"]
NUMBERS = [0, 1, 1.0, 2, 12, 12.5, -3, 4096, 1e300, -(2**63)]
SALTS = ["v1", "v2", "é"]
IDS = [f"d{n}" for n in range(8)]

words, numbers = st.sampled_from(WORDS), st.sampled_from(NUMBERS)
values = st.one_of(words, numbers, st.booleans(), st.lists(words, max_size=3))
attributes = st.dictionaries(st.sampled_from(NAMES), values, max_size=6)
profiles = st.builds(Profile, st.sampled_from(IDS), attributes, attributes)

compared = st.lists(
    st.tuples(
        st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
        st.sampled_from(["12", "12.9", "12.10", "13", "0", "13-rc.2"]),
    ),
    min_size=1,
    max_size=2,
).map(lambda parts: ", ".join(op + text for op, text in parts))
scalars = st.one_of(words, numbers, st.booleans())
lists = st.one_of(st.lists(words, min_size=1, max_size=3), st.lists(numbers, min_size=1, max_size=3))
bounds = st.one_of(numbers, st.sampled_from(["12", "12.9", "13"]))
tables = st.fixed_dictionaries(
    {},
    optional={
        "eq": scalars, "ne": scalars, "in": lists, "not_in": lists, "contains": words, "exists": st.booleans(),
        "lt": bounds, "le": bounds, "gt": bounds, "ge": bounds,
    },
).filter(bool)  # fmt: skip
conditions = st.dictionaries(
    st.sampled_from(NAMES), st.one_of(scalars, lists, compared, tables), min_size=1, max_size=3
)
leaves = st.one_of(
    st.just({"everyone": True}),
    st.builds(
        lambda salt, p: {"uniform": {"salt": salt, "percent": p}}, st.sampled_from(SALTS), st.integers(0, 100)
    ),
    conditions.map(lambda c: {"device": c}),
    conditions.map(lambda c: {"user": c}),
    st.lists(st.sampled_from(IDS), min_size=1, max_size=3).map(lambda ids: {"devices": ids}),
    st.sampled_from(["testers", "young"]).map(lambda name: {"segment": name}),
)
policies = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=4).map(lambda some: {"all": some}),
        st.lists(inner, min_size=1, max_size=4).map(lambda some: {"any": some}),
        inner.map(lambda one: {"not": one}),
    ),
    max_leaves=12,
)
SEGMENTS = {
    "testers": {"any": [{"devices": ["d1", "d2"]}, {"user": {"flag": True}}]},
    "young": {"not": {"user": {"memory_mb": {"ge": 2}}}},
}
