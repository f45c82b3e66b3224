"""Operators on strings, which are object arrays of str. They live on the host."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from walle_core.ops.define import OpContext, atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import broadcast_shapes, require, rule, text
from walle_core.types import TensorSpec, bool_, string


def objects(values: Sequence[Any], shape: Sequence[int]) -> Any:
    """An object array of a shape; np.array would look into nested values."""
    made = np.empty(len(values), object)
    made[:] = values
    return made.reshape(shape)


def each(fn: Callable[[str], Any], x: Any) -> list[Any]:
    """`fn` of every element, decoded."""
    return [fn(text(v)) for v in x.reshape(-1).tolist()]


@rule
def _infer_concat(ctx: OpContext) -> Sequence[TensorSpec]:
    return [TensorSpec(string, broadcast_shapes(ctx.shape(0), ctx.shape(1)))]


@atomic("StringConcat", "string", infer=_infer_concat, dtypes=("string",))
def string_concat(x: Any, y: Any) -> Any:
    """Joins strings elementwise, with broadcasting."""
    x, y = np.broadcast_arrays(x, y)
    return objects(
        [text(a) + text(b) for a, b in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)], x.shape
    )


@atomic("StringSplit", "string", dtypes=("string",))
def string_split(x: Any, *, delimiter: str | bytes = "", maxsplit: int | None = None) -> Any:
    """Substrings along a new last axis, padded with empty strings, and their number; blanks separate by default."""
    separator = text(delimiter) or None
    parts = each(lambda s: s.split(separator, -1 if maxsplit is None else maxsplit), x)
    width = max(map(len, parts), default=0)
    flat = [v for row in parts for v in row + [""] * (width - len(row))]
    return objects(flat, (*x.shape, width)), np.array([len(p) for p in parts], np.int64).reshape(x.shape)


@atomic("StringNormalizer", "string", dtypes=("string",))
def string_normalizer(
    x: Any, *, case_change_action: str | bytes = "NONE", is_case_sensitive: int = 0, locale: str = "",
    stopwords: Sequence[str | bytes] = (),
) -> Any:  # fmt: skip
    """Removes stop words from [C] or [1, C] strings and changes their case."""
    require(
        x.ndim == 1 or (x.ndim == 2 and x.shape[0] == 1),
        f"strings must be [C] or [1, C], not {list(x.shape)}",
    )
    changes: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
    change = changes.get(text(case_change_action))
    require(change is not None, f"case_change_action {case_change_action!r} must be NONE, LOWER or UPPER")
    assert change is not None
    fold: Callable[[str], str] = str if is_case_sensitive else str.lower
    stop = {fold(text(w)) for w in stopwords}
    kept = [change(s) for s in each(str, x) if fold(s) not in stop] or [""]
    return objects(kept, (len(kept),) if x.ndim == 1 else (1, len(kept)))


@rule
def _infer_match(ctx: OpContext) -> Sequence[TensorSpec]:
    return [TensorSpec(bool_, ctx.shape(0))]


@atomic("RegexFullMatch", "string", infer=_infer_match, dtypes=("string",))
def regex_full_match(x: Any, *, pattern: str | bytes) -> Any:
    """Whether the whole string matches a regular expression of the RE2 dialect (read by Python's `re`)."""
    # (?P<name>...) is common to both dialects; \z is RE2's end of text, \C and \pN have no counterpart.
    source = re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", text(pattern))
    try:
        compiled = re.compile(source)
    except re.error as error:
        raise ValueError(f"pattern {text(pattern)!r} cannot be read: {error}") from error
    return np.array(each(lambda s: compiled.fullmatch(s) is not None, x), bool).reshape(x.shape)


def _pool(
    strings: Sequence[Any] | None, numbers: Sequence[int] | None, starts: Sequence[int]
) -> list[tuple[Any, ...]]:
    """The n-grams of a TfIdfVectorizer's pool: `starts` holds where the 1-grams, 2-grams, ... begin."""
    pool = [text(s) for s in strings] if strings else list(numbers or ())
    grams: list[tuple[Any, ...]] = []
    for n, (begin, end) in enumerate(zip(starts, [*starts[1:], len(pool)], strict=True), 1):
        require(
            0 <= begin <= end <= len(pool) and (end - begin) % n == 0,
            f"ngram_counts {list(starts)} do not fit",
        )
        grams += [tuple(pool[i : i + n]) for i in range(begin, end, n)]
    return grams


@atomic("TfIdfVectorizer", "string", dtypes=("string",))
def tf_idf_vectorizer(
    x: Any, *, max_gram_length: int, max_skip_count: int, min_gram_length: int, mode: str | bytes,
    ngram_counts: Sequence[int], ngram_indexes: Sequence[int], pool_int64s: Sequence[int] | None = None,
    pool_strings: Sequence[str] | None = None, weights: Sequence[float] | None = None,
) -> Any:  # fmt: skip
    """Counts (TF), presence (IDF) or weighted counts (TFIDF) of the pool's n-grams, gaps of up to max_skip_count."""
    kind = text(mode)
    require(kind in ("TF", "IDF", "TFIDF"), f"mode {kind!r} must be TF, IDF or TFIDF")
    require(x.ndim in (1, 2), f"X must have rank 1 or 2, not {x.ndim}")
    grams = _pool(pool_strings, pool_int64s, ngram_counts)
    require(
        len(grams) == len(ngram_indexes),
        f"{len(grams)} n-grams in the pool, {len(ngram_indexes)} ngram_indexes",
    )
    place = {
        gram: (i, int(column)) for i, (gram, column) in enumerate(zip(grams, ngram_indexes, strict=True))
    }
    out = np.zeros((x.shape[0] if x.ndim == 2 else 1, max(ngram_indexes, default=-1) + 1), np.float32)
    for row, values in zip(out, x if x.ndim == 2 else x[None], strict=True):
        tokens = [text(v) if isinstance(v, (str, bytes)) else v for v in values.tolist()]
        for n in range(max(1, min_gram_length), min(max_gram_length, len(tokens)) + 1):
            reach = (len(tokens) - 1) // (n - 1) if n > 1 else 1  # a larger gap leaves the tokens
            for stride in range(1, min(max_skip_count + 1 if n > 1 else 1, reach) + 1):
                for start in range(len(tokens) - (n - 1) * stride):
                    if found := place.get(tuple(tokens[start : start + (n - 1) * stride + 1 : stride])):
                        weight = 1.0 if kind == "TF" or weights is None else weights[found[0]]
                        row[found[1]] = weight if kind == "IDF" else row[found[1]] + weight
    return out if x.ndim == 2 else out[0]
