"""Feature preparation (domain ai.onnx.ml): scaling, encoding, selection, and maps (Python dicts)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from walle_core.ops.define import OpContext, Sample, atomic, composite
from walle_core.ops.ml_linear import labels
from walle_core.ops.numpy_lazy import np
from walle_core.ops.pieces import reshape
from walle_core.ops.rules import require, rule, text
from walle_core.ops.strings import objects
from walle_core.types import TensorSpec, float32

ML = "ai.onnx.ml."


@composite(
    ML + "ArrayFeatureExtractor", "ml",
    samples=(Sample(((3, 5), [0, 4, 2]), {}, ("float32", "int64")), Sample(((5,), [1]), {}, ("float32", "int64"))),
)  # fmt: skip
def array_feature_extractor(g: Any, x: str, y: str) -> Any:
    """Columns of the last axis selected by indices."""
    rank = len(g.shape(x))
    taken = g.Gather(reshape(g, x, 1, -1) if rank == 1 else x, reshape(g, y, -1), axis=-1)
    return taken


@composite(ML + "Binarizer", "ml", samples=(Sample(((3, 5),), {"threshold": 0.5}),))
def binarizer(g: Any, x: str, *, threshold: float = 0.0) -> Any:
    """1 above a threshold, else 0."""
    return g.CastLike(g.Greater(x, g.const(threshold, like=x)), x)


@composite(
    ML + "Scaler", "ml", samples=(Sample(((3, 2),), {"offset": (1.0, 0.5), "scale": (2.0, 4.0)}),), ulp=2
)
def scaler(g: Any, x: str, *, offset: Sequence[float] = (0.0,), scale: Sequence[float] = (1.0,)) -> Any:
    """(x - offset) * scale along the last axis."""
    return g.Mul(g.Sub(g.Cast(x, to=1), g.const(list(offset))), g.const(list(scale)))


@composite(
    ML + "Normalizer", "ml", ulp=8,
    samples=tuple(Sample(((3, 5),), {"norm": n}) for n in ("MAX", "L1", "L2")),
)  # fmt: skip
def normalizer(g: Any, x: str, *, norm: str | bytes = "MAX") -> Any:
    """Rows divided by their maximum, sum of magnitudes or Euclidean norm; a zero divisor leaves them."""
    x = g.Cast(x, to=1)
    reducer = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}.get(text(norm))
    require(reducer is not None, f"norm {norm!r} must be MAX, L1 or L2")
    total = g.op(reducer, x, g.const([-1], "int64"), keepdims=1)
    return g.Div(x, g.Where(g.Equal(total, g.const(0.0)), g.const(1.0), total))


@composite(
    ML + "Imputer",
    "ml",
    samples=(Sample(((3, 2),), {"imputed_value_floats": (1.0, 2.0), "replaced_value_float": 0.0}),),
)
def imputer(
    g: Any, x: str, *, imputed_value_floats: Sequence[float] | None = None,
    imputed_value_int64s: Sequence[int] | None = None, replaced_value_float: float = 0.0, replaced_value_int64: int = 0,
) -> Any:  # fmt: skip
    """Replaces one value (NaN included) by another, the same or one per column."""
    floats = g.dtype(x).kind == "f"
    values = imputed_value_floats if floats else imputed_value_int64s
    require(bool(values), "imputed values of the input's kind are missing")
    wanted = replaced_value_float if floats else replaced_value_int64
    missing = g.IsNaN(x) if wanted != wanted else g.Equal(x, g.const(wanted, like=x))
    return g.Where(missing, g.const(list(values or ()), like=x), x)


@rule
def _infer_feature_vectorizer(ctx: OpContext) -> Sequence[TensorSpec]:
    shapes = [s.sizes if len(s.sizes) == 2 else (1, *s.sizes) for s in ctx.inputs if s is not None]
    require(
        bool(shapes) and len({s[0] for s in shapes}) == 1, f"inputs {shapes} must have one number of rows"
    )
    return [TensorSpec(float32, (shapes[0][0], sum(s[1] for s in shapes)))]


@composite(
    ML + "FeatureVectorizer", "ml", infer=_infer_feature_vectorizer, samples=(Sample(((3, 2), (3, 1))),)
)
def feature_vectorizer(g: Any, *inputs: str, inputdimensions: Sequence[int] | None = None) -> Any:
    """Joins columns of several tensors in float32."""
    return g.Concat(*(reshape(g, g.Cast(x, to=1), -1, g.shape(x)[-1]) for x in inputs), axis=1)


def _lookup(x: Any, keys: Sequence[Any], values: Any, default: Any) -> Any:
    """Elementwise mapping; NaN keys match NaN, the last of equal keys counts."""
    table = {("nan" if key != key else key): i for i, key in enumerate(keys)}
    flat = [text(v) if isinstance(v, (str, bytes)) else v for v in x.ravel().tolist()]
    found = [table.get("nan" if v != v else v, -1) for v in flat]
    if values.dtype == object:
        return objects([values[i] if i >= 0 else default for i in found], x.shape)
    return np.array([values[i] if i >= 0 else default for i in found], values.dtype).reshape(x.shape)


def _column(strings: Any, numbers: Any, floats: Any, tensor: Any, what: str) -> Any:
    """The one attribute of a family that is set, as an array."""
    if tensor is not None:
        array = np.asarray(tensor).ravel()
        return objects([text(v) for v in array.tolist()], array.shape) if array.dtype.kind in "OUS" else array
    if strings:
        return objects([text(s) for s in strings], (len(strings),))
    require(bool(numbers) or bool(floats), f"{what}_* is missing")
    return np.array(numbers, np.int64) if numbers else np.array(floats, np.float32)


@atomic(ML + "LabelEncoder", "ml", dtypes=("int64",))
def label_encoder(
    x: Any, *, default_float: float = -0.0, default_int64: int = -1, default_string: str | bytes = "_Unused",
    default_tensor: Any = None, keys_floats: Any = None, keys_int64s: Any = None, keys_strings: Any = None,
    keys_tensor: Any = None, values_floats: Any = None, values_int64s: Any = None, values_strings: Any = None,
    values_tensor: Any = None,
) -> Any:  # fmt: skip
    """Maps each element by a table of keys and values; others become the default."""
    keys = _column(keys_strings, keys_int64s, keys_floats, keys_tensor, "keys")
    values = _column(values_strings, values_int64s, values_floats, values_tensor, "values")
    require(len(keys) == len(values), f"{len(keys)} keys for {len(values)} values")
    if default_tensor is not None:
        default = np.asarray(default_tensor).ravel()[0]
    else:
        default = {"O": text(default_string), "f": default_float}.get(values.dtype.kind, default_int64)
    wanted = (
        keys.astype(x.dtype).tolist() if keys.dtype.kind in "fiu" and x.dtype.kind in "fiu" else keys.tolist()
    )
    return _lookup(x, wanted, values, text(default) if isinstance(default, bytes) else default)


@atomic(ML + "CategoryMapper", "ml", dtypes=("int64",))
def category_mapper(
    x: Any, *, cats_int64s: Sequence[int] = (), cats_strings: Sequence[str] = (), default_int64: int = -1,
    default_string: str | bytes = "_Unused",
) -> Any:  # fmt: skip
    """Strings to integers, or integers to strings, by one table."""
    names, numbers = labels(cats_strings, None), np.array(cats_int64s, np.int64)
    require(len(names) == len(numbers), f"{len(names)} strings for {len(numbers)} integers")
    if x.dtype.kind in "OUS":
        return _lookup(x, names.tolist(), numbers, default_int64)
    return _lookup(x, numbers.tolist(), names, text(default_string))


@rule
def _infer_one_hot(ctx: OpContext) -> Sequence[TensorSpec]:
    count = len(ctx.attrs["cats_strings"] or ctx.attrs["cats_int64s"] or ())
    return [TensorSpec(float32, (*ctx.shape(0), count))]


@atomic(ML + "OneHotEncoder", "ml", infer=_infer_one_hot, dtypes=("int64",))
def one_hot_encoder(
    x: Any,
    *,
    cats_int64s: Sequence[int] | None = None,
    cats_strings: Sequence[str] | None = None,
    zeros: int = 1,
) -> Any:
    """A new last axis with 1 at the category of the element."""
    categories = labels(cats_strings, cats_int64s)
    values = x if x.dtype.kind in "OUS" else x.astype(np.int64)
    index = _lookup(values, categories.tolist(), np.arange(len(categories)), -1)
    require(
        bool(zeros) or bool((index >= 0).all()), "an element is in no category; set zeros=1 to allow that"
    )
    return (index[..., None] == np.arange(len(categories))).astype(np.float32)


@atomic(ML + "ZipMap", "ml")
def zip_map(x: Any, *, classlabels_int64s: Any = None, classlabels_strings: Any = None) -> Any:
    """A sequence of maps from label to value, one per row."""
    names = labels(classlabels_strings, classlabels_int64s).tolist()
    table = x if x.ndim == 2 else x[None]
    require(table.shape[1] == len(names), f"{table.shape[1]} columns for {len(names)} labels")
    return [dict(zip(names, row, strict=True)) for row in table.tolist()]


@atomic(ML + "CastMap", "ml")
def cast_map(
    x: Any, *, cast_to: str | bytes = "TO_FLOAT", map_form: str | bytes = "DENSE", max_map: int = 1
) -> Any:
    """Values of a map in the order of its keys, or at the index of its keys: [1, n]."""
    require(isinstance(x, dict), "the input must be a map")
    sparse = text(map_form) == "SPARSE"
    require(not sparse or all(0 <= k < max_map for k in x), f"a key is outside [0, {max_map})")
    wanted = {
        "TO_FLOAT": ("float32", 0.0, float),
        "TO_INT64": ("int64", 0, int),
        "TO_STRING": ("string", "", str),
    }
    require(text(cast_to) in wanted, f"cast_to {cast_to!r} must be one of {', '.join(wanted)}")
    name, empty, convert = wanted[text(cast_to)]
    values = (
        [convert(x.get(i, empty)) for i in range(max_map)] if sparse else [convert(x[k]) for k in sorted(x)]
    )
    return objects(values, (1, len(values))) if name == "string" else np.array([values], name)


@atomic(ML + "DictVectorizer", "ml")
def dict_vectorizer(x: Any, *, int64_vocabulary: Any = None, string_vocabulary: Any = None) -> Any:
    """Values of a map at the places of its keys in a vocabulary: [1, n]."""
    require(isinstance(x, dict), "the input must be a map")
    keys = labels(string_vocabulary, int64_vocabulary).tolist()
    require(set(x) <= set(keys), f"keys {sorted(set(x) - set(keys))} are not in the vocabulary")
    strings = any(isinstance(v, str) for v in x.values())
    values = [x.get(key, "" if strings else 0) for key in keys]
    return objects(values, (1, len(values))) if strings else np.array([values])
