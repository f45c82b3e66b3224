"""Decision-tree ensembles (domain ai.onnx.ml): TreeEnsemble and its two older forms, by one evaluator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import attrs

from walle_core.ops.define import OpContext, atomic
from walle_core.ops.ml_linear import labels, post_transform
from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import require, rule, text
from walle_core.types import DTYPES, TensorSpec, float32

LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF = range(8)
MODES = {"BRANCH_LEQ": LEQ, "BRANCH_LT": LT, "BRANCH_GTE": GTE, "BRANCH_GT": GT, "BRANCH_EQ": EQ, "BRANCH_NEQ": NEQ,
         "LEAF": LEAF}  # fmt: skip
AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


@attrs.frozen(eq=False)
class Forest:
    """Trees as parallel arrays over all nodes; a leaf has mode LEAF.

    Attributes:
        roots: node index of each tree's root.
        modes, features, splits, then, otherwise, missing: per node; `missing` says that NaN goes to `then`.
        members: sets of MEMBER nodes.
        votes: leaf -> [(target, weight)].
    """

    roots: Sequence[int]
    modes: Any
    features: Any
    splits: Any
    then: Any
    otherwise: Any
    missing: Any
    members: Mapping[int, frozenset[float]]
    votes: Mapping[int, Sequence[tuple[int, float]]]

    def leaves(self, x: Any) -> Any:
        """Leaf reached by each row in each tree: [rows, trees]. Raises ValueError if a tree is cyclic."""
        at = np.broadcast_to(np.asarray(self.roots), (len(x), len(self.roots))).copy()
        for _ in range(len(self.modes) + 1):
            mode = self.modes[at]
            rows, trees = np.nonzero(mode != LEAF)
            if not rows.size:
                return at
            node = at[rows, trees]
            value, split, kind = (
                x[rows, self.features[node]],
                self.splits[node].astype(x.dtype),
                mode[rows, trees],
            )
            passed = np.select(
                [kind == m for m in range(6)],
                [
                    value <= split,
                    value < split,
                    value >= split,
                    value > split,
                    value == split,
                    value != split,
                ],
                default=False,
            )
            for i in np.flatnonzero(kind == MEMBER):
                passed[i] = float(value[i]) in self.members[int(node[i])]
            passed = passed | (np.isnan(value) & self.missing[node])
            at[rows, trees] = np.where(passed, self.then[node], self.otherwise[node])
        raise ValueError("a tree has a cycle")

    def scores(self, x: Any, targets: int, aggregate: str) -> Any:
        """Aggregated votes [rows, targets] float64; 0 for a target that got none."""
        require(
            aggregate in AGGREGATES,
            f"aggregate_function {aggregate!r} must be one of {', '.join(AGGREGATES)}",
        )
        out = np.zeros((len(x), targets), np.float64)
        voted = np.zeros((len(x), targets), bool)
        for row, leaves in enumerate(self.leaves(x).tolist()):
            for target, weight in (vote for leaf in leaves for vote in self.votes.get(leaf, ())):
                require(0 <= target < targets, f"target {target} is outside [0, {targets})")
                old = out[row, target]
                if aggregate in ("MIN", "MAX") and voted[row, target]:
                    out[row, target] = min(old, weight) if aggregate == "MIN" else max(old, weight)
                else:
                    out[row, target] = old + weight
                voted[row, target] = True
        return out / len(self.roots) if aggregate == "AVERAGE" else out


def _matrix(x: Any) -> Any:
    require(x.ndim in (1, 2), f"X must be [features] or [rows, features], not {list(x.shape)}")
    x = x if x.ndim == 2 else x[None]
    return x if x.dtype.kind == "f" else x.astype(np.float32)


def _given(plain: Any, tensor: Any) -> list[float]:
    return [float(v) for v in (np.asarray(tensor).ravel() if tensor is not None else plain or ())]


def _legacy(a: Mapping[str, Any], vote: str, target: str) -> Forest:
    """A forest whose nodes are named by (tree, node) pairs."""
    ids = list(zip(a["nodes_treeids"], a["nodes_nodeids"], strict=True))
    index = {pair: i for i, pair in enumerate(ids)}
    require(len(index) == len(ids), "a (tree, node) pair appears twice")
    modes = [MODES.get(text(m), -1) for m in a["nodes_modes"]]
    require(-1 not in modes, f"nodes_modes must be among {', '.join(MODES)}")

    def children(values: Sequence[int]) -> Any:
        found = [
            index.get((tree, child), -1) if mode != LEAF else 0
            for (tree, _), child, mode in zip(ids, values, modes, strict=True)
        ]
        require(-1 not in found, "a node names a child that does not exist")
        return np.array(found, np.int64)

    then, otherwise = children(a["nodes_truenodeids"]), children(a["nodes_falsenodeids"])
    roots = list({tree: i for i, (tree, _) in reversed(list(enumerate(ids)))}.values())
    votes: dict[int, list[tuple[int, float]]] = {}
    weights = _given(a[f"{vote}_weights"], a[f"{vote}_weights_as_tensor"])
    for tree, node, to, weight in zip(
        a[f"{vote}_treeids"], a[f"{vote}_nodeids"], a[target], weights, strict=True
    ):
        require((tree, node) in index, f"a vote names node {node} of tree {tree}, which does not exist")
        votes.setdefault(index[tree, node], []).append((to, weight))
    missing = a["nodes_missing_value_tracks_true"] or [0] * len(ids)
    splits = np.array(_given(a["nodes_values"], a["nodes_values_as_tensor"]))
    require(len(splits) == len(ids), f"{len(splits)} nodes_values for {len(ids)} nodes")
    return Forest(
        roots[::-1], np.array(modes), np.array(a["nodes_featureids"]), splits, then, otherwise,
        np.array(missing, bool), {}, votes,
    )  # fmt: skip


def _modern(a: Mapping[str, Any]) -> Forest:
    """A forest of TreeEnsemble: leaves have an index space of their own and follow the inner nodes here."""
    count, weights = len(a["nodes_modes"]), np.asarray(a["leaf_weights"]).ravel()
    modes = [*np.asarray(a["nodes_modes"]).ravel().tolist(), *[LEAF] * len(weights)]

    def children(ids: Sequence[int], leaf: Sequence[int]) -> Any:
        found = [i + count if is_leaf else i for i, is_leaf in zip(ids, leaf, strict=True)] + [0] * len(
            weights
        )
        require(all(0 <= i < len(modes) for i in found), "a node names a child that does not exist")
        return np.array(found, np.int64)

    members: dict[Any, Any] = {}
    sets: list[list[Any]] = [[]]
    for value in (
        np.asarray(a["membership_values"] if a["membership_values"] is not None else ()).ravel().tolist()
    ):
        if isnan(value):
            sets.append([])
        else:
            sets[-1].append(value)
    where = [i for i, m in enumerate(modes) if m == MEMBER]
    require(
        len(where) <= len(sets), f"{len(where)} BRANCH_MEMBER nodes for {len(sets)} sets of membership_values"
    )
    members = {node: frozenset(values) for node, values in zip(where, sets, strict=False)}
    pad = [0] * len(weights)
    missing = [*(a["nodes_missing_value_tracks_true"] or [0] * count), *pad]
    votes = {
        count + i: [(int(t), float(w))]
        for i, (t, w) in enumerate(zip(a["leaf_targetids"], weights, strict=True))
    }
    return Forest(
        list(a["tree_roots"]), np.array(modes), np.array([*a["nodes_featureids"], *pad]),
        np.array([*np.asarray(a["nodes_splits"], np.float64).ravel().tolist(), *pad]),
        children(a["nodes_truenodeids"], a["nodes_trueleafs"]), children(a["nodes_falsenodeids"], a["nodes_falseleafs"]),
        np.array(missing, bool), members, votes,
    )  # fmt: skip


@rule
def _infer_scores(ctx: OpContext) -> Sequence[TensorSpec]:
    shape = ctx.shape(0)
    dtype = ctx.dtype(0) if ctx.op.endswith("TreeEnsemble") else float32
    return [TensorSpec(dtype, (shape[0] if len(shape) == 2 else 1, int(ctx.attrs["n_targets"] or 1)))]


@atomic("ai.onnx.ml.TreeEnsemble", "ml", infer=_infer_scores)
def tree_ensemble(
    x: Any, *, aggregate_function: int = 1, leaf_targetids: Any, leaf_weights: Any, membership_values: Any = None,
    n_targets: int = 1, nodes_falseleafs: Any, nodes_falsenodeids: Any, nodes_featureids: Any,
    nodes_missing_value_tracks_true: Any = None, nodes_modes: Any, nodes_splits: Any, nodes_trueleafs: Any,
    nodes_truenodeids: Any, post_transform: int = 0, tree_roots: Any,
) -> Any:  # fmt: skip
    """Votes of an ensemble of trees: [rows, targets]."""
    forest = _modern(locals())
    scores = forest.scores(_matrix(x), n_targets, AGGREGATES[aggregate_function])
    return _finish(scores, post_transform).astype(x.dtype)


def _finish(scores: Any, kind: Any) -> Any:
    return post_transform(scores, kind)


@atomic("ai.onnx.ml.TreeEnsembleRegressor", "ml", infer=_infer_scores)
def tree_ensemble_regressor(
    x: Any, *, aggregate_function: Any = "SUM", base_values: Any = None, base_values_as_tensor: Any = None,
    n_targets: int | None = None, nodes_falsenodeids: Any = (), nodes_featureids: Any = (),
    nodes_missing_value_tracks_true: Any = None, nodes_modes: Any = (), nodes_nodeids: Any = (), nodes_treeids: Any = (),
    nodes_truenodeids: Any = (), nodes_values: Any = None, nodes_values_as_tensor: Any = None,
    post_transform: Any = "NONE", target_ids: Any = (), target_nodeids: Any = (), target_treeids: Any = (),
    target_weights: Any = None, target_weights_as_tensor: Any = None,
) -> Any:  # fmt: skip
    """Votes of an ensemble of regression trees: [rows, targets] float32."""
    scores = _legacy(locals(), "target", "target_ids").scores(
        _matrix(x), n_targets or 1, text(aggregate_function)
    )
    if base := _given(base_values, base_values_as_tensor):
        scores = scores + np.array(base)
    return _finish(scores, post_transform).astype(np.float32)


@rule
def _infer_classes(ctx: OpContext) -> Sequence[TensorSpec]:
    shape, names = ctx.shape(0), ctx.attrs["classlabels_strings"]
    rows, count = (shape[0] if len(shape) == 2 else 1), len(names or ctx.attrs["classlabels_int64s"] or ())
    return [TensorSpec(DTYPES["string" if names else "int64"], (rows,)), TensorSpec(float32, (rows, count))]


@atomic("ai.onnx.ml.TreeEnsembleClassifier", "ml", infer=_infer_classes)
def tree_ensemble_classifier(
    x: Any, *, base_values: Any = None, base_values_as_tensor: Any = None, class_ids: Any = (), class_nodeids: Any = (),
    class_treeids: Any = (), class_weights: Any = None, class_weights_as_tensor: Any = None,
    classlabels_int64s: Any = None, classlabels_strings: Any = None, nodes_falsenodeids: Any = (),
    nodes_featureids: Any = (), nodes_missing_value_tracks_true: Any = None, nodes_modes: Any = (),
    nodes_nodeids: Any = (), nodes_treeids: Any = (), nodes_truenodeids: Any = (), nodes_values: Any = None,
    nodes_values_as_tensor: Any = None, post_transform: Any = "NONE",
) -> Any:  # fmt: skip
    """Class and scores of an ensemble of classification trees.

    Two classes with votes for one only: the single score s stands for the second class, (1 - s, s) where all votes are
    positive and (-s, s) where not.
    """
    names = labels(classlabels_strings, classlabels_int64s)
    forest = _legacy(locals(), "class", "class_ids")
    scores = forest.scores(_matrix(x), len(names), "SUM")
    base = _given(base_values, base_values_as_tensor)
    weights = _given(class_weights, class_weights_as_tensor)
    if len(names) == 2 and len(set(class_ids)) == 1:
        s = scores[:, int(class_ids[0])] + (base[-1] if base else 0.0)
        positive = min(weights, default=0.0) >= 0
        chosen = (s > (0.5 if positive else 0.0)).astype(int)
        if text(post_transform) == "LOGISTIC" and not positive:
            scores = _finish(np.stack([-s, s], 1), "LOGISTIC")
        elif text(post_transform) == "PROBIT":
            scores = np.stack([-s, _finish(s[:, None], "PROBIT")[:, 0]], 1)
        else:
            scores = np.stack([1 - s if positive else -s, s], 1)
    else:
        scores = scores + np.array(base) if base else scores
        chosen = scores.argmax(axis=1)
        scores = _finish(scores, post_transform)
    return names[chosen], scores.astype(np.float32)
