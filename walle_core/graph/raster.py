"""Lowers transforms to Raster nodes and merges them: a chain of moves becomes one move, or none.

* lowering: a transform with static specs and constant parameters becomes one Raster per output;
* vertical merging: a Raster that reads the output of a Raster reads the original instead;
* horizontal merging: Rasters that make the same elements become one;
* a Raster that copies a tensor in its own order is a view, and vanishes where the shape stays too.

The scheme is geometric computing of MNN (Lv et al., "Walle", OSDI'22, section 4.2); the algebra is in `regions` and `compose`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from walle_core.errors import WalleError
from walle_core.graph.compose import substitute
from walle_core.graph.ir import Graph, Node, captured
from walle_core.graph.regions import Piece, from_region, is_identity, join, kernel_regions, region_count
from walle_core.graph.shapes import context, infer_node
from walle_core.ops import find
from walle_core.ops.define import OpDef, Region, View
from walle_core.types import TensorSpec

MAX_REGIONS = 64  # merging stops where a Raster would need more regions than this
MAX_LOWERED = 4096  # a transform that needs more regions than this stays a transform


@attrs.frozen
class Report:
    """What lowering did to a graph.

    Attributes:
        transforms: transform nodes lowered.
        rasters: Rasters before merging.
        vertical: Rasters left after vertical merging (views not counted).
        horizontal: Rasters left after horizontal merging too; these move memory at run time.
        identities: moves that turned out to keep every element in its place.
        views: of those, the ones that stay as nodes without cost, because the shape changes or an output needs a name.
        regions: regions of all Rasters that are left.
    """

    transforms: int = 0
    rasters: int = 0
    vertical: int = 0
    horizontal: int = 0
    identities: int = 0
    views: int = 0
    regions: int = 0


@attrs.define(eq=False)
class _Move:
    """A value made by moving elements. `pieces` have value names as origins; `first` is the equal Move made before."""

    value: str
    spec: TensorSpec
    pieces: list[Piece]
    fill: Any
    name: str
    identity: bool = False
    first: _Move | None = None
    count: int = 0


class _Lowering:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.specs: dict[str, TensorSpec] = dict(graph.specs)
        self.moves: dict[str, _Move] = {}
        self.same: dict[Any, _Move] = {}
        self.alias: dict[str, str] = {}
        self.order: list[Node | _Move] = []
        self.transforms = self.identities = self.rasters = 0
        self.fixed = set(graph.outputs)
        for node in graph.nodes:
            self.fixed |= captured(node)

    def run(self) -> tuple[Graph, Report]:
        for node in self.graph.nodes:
            if any(n in self.alias for n in node.inputs):
                node = node.evolve(inputs=tuple(self.alias.get(n, n) for n in node.inputs))
            op = find(node.op)
            if op is None or not (self._raster(node) if node.op == "Raster" else self._transform(node, op)):
                self.order.append(node)
        return self._emit()

    def _raster(self, node: Node) -> bool:
        shape, fill = node.attrs["shape"], node.attrs.get("fill")
        spec = self.specs.get(node.outputs[0])
        if spec is None:
            found = infer_node(node, self.specs, self.graph.constants)
            if not found:
                return False
            spec = found[0]
        self._add(
            node.outputs[0],
            attrs.evolve(spec, shape=tuple(shape)),
            node,
            node.attrs["regions"],
            fill,
            node.name,
        )
        return True

    def _transform(self, node: Node, op: OpDef) -> bool:
        if op.kind != "transform" or op.regions is None:
            return False
        constants = self.graph.constants
        ctx = context(node, op, self.specs, constants)
        if ctx is None or any(s is not None and s.dtype.kind == "s" for s in ctx.inputs):
            return False
        specs: Sequence[TensorSpec | None] | None = [self.specs.get(n) if n else None for n in node.outputs]
        if any(n and (s is None or not s.static) for n, s in zip(node.outputs, specs or (), strict=True)):
            specs = infer_node(node, self.specs, constants)
        if specs is None:
            return False
        try:
            found = op.regions(ctx)
            fill = op.fill(ctx) if op.fill is not None else None
        except WalleError:
            raise
        except (ValueError, TypeError, IndexError, KeyError, ArithmeticError) as error:
            raise ctx.error(f"operands do not fit the operator ({error})") from error
        if found is None:
            return False
        parts = list(found) if isinstance(found, tuple) else [found]
        if sum(region_count([p for r in part if (p := from_region(r, 0))]) for part in parts) > MAX_LOWERED:
            return False
        self.transforms += 1
        for i, (out, regions) in enumerate(zip(node.outputs, parts, strict=False)):
            spec = specs[i]
            if out and spec is not None:
                self._add(
                    out, spec, node, regions, fill, node.name if len(parts) == 1 else f"{node.name}:{i}"
                )
        return True

    def _add(
        self, out: str, spec: TensorSpec, node: Node, regions: Sequence[Region], fill: Any, name: str
    ) -> None:
        self.specs[out] = spec
        self.rasters += 1
        pieces = [p for r in regions if (p := from_region(r, node.inputs[r.origin])) is not None]
        pieces, fill = self._through_producers(pieces, fill)
        move = _Move(out, spec, pieces, fill, name)
        move.identity = (
            len(pieces) == 1
            and is_identity(pieces[0], spec.size)
            and self.specs[pieces[0][0]].size == spec.size
            and self.specs[pieces[0][0]].dtype == spec.dtype
        )
        self.moves[out] = move
        self.order.append(move)
        if move.identity:
            self.identities += 1
            if self.specs[pieces[0][0]].shape == spec.shape:
                self.alias[out] = pieces[0][0]
            return
        key = (tuple(sorted(pieces)), fill, type(fill), spec.dtype.name, spec.size)
        move.first = self.same.setdefault(key, move)
        if move.first is not move and move.first.spec.shape == spec.shape:
            self.alias[out] = move.first.value

    def _through_producers(self, pieces: list[Piece], fill: Any) -> tuple[list[Piece], Any]:
        """Vertical merging, once per producer: producers are merged already."""
        merged = False
        for origin in dict.fromkeys(p[0] for p in pieces):
            producer = self.moves.get(origin)
            if producer is None:
                continue
            mine, others = [p for p in pieces if p[0] == origin], [p for p in pieces if p[0] != origin]
            before = region_count(mine)
            limit = max(MAX_REGIONS, before, len(producer.pieces)) - len(others)
            found = self._read_through(mine, producer, limit)
            if found is None:
                continue
            new, holes = found
            if holes and (producer.fill is None or (fill is not None and fill != producer.fill)):
                continue
            if len(new) > 1:
                new = join(new)
            if region_count(new) > max(MAX_REGIONS, before, region_count(producer.pieces)):
                continue
            if holes and fill is None:
                fill = producer.fill
            pieces = others + new
            merged = True
        return (join(pieces) if merged and len(pieces) > 1 else pieces), fill

    @staticmethod
    def _read_through(pieces: list[Piece], producer: _Move, limit: int) -> tuple[list[Piece], bool] | None:
        new: list[Piece] = []
        holes = False
        for piece in pieces:
            if len(producer.pieces) == 1 and producer.identity:
                new.append((producer.pieces[0][0], *piece[1:]))
                continue
            cut = substitute(piece, producer.pieces, limit - len(new))
            if cut is None:
                return None
            new += cut[0]
            holes = holes or bool(cut[1])
        return new, holes

    def _emit(self) -> tuple[Graph, Report]:
        needed = set(self.fixed)
        for step in reversed(self.order):
            if isinstance(step, Node):
                needed.update(step.inputs, captured(step))
            elif step.value in needed:
                needed.update(p[0] for p in step.pieces)
        nodes: list[Node] = []
        made: dict[int, str] = {}
        duplicates = views = rasters = regions = 0
        for step in self.order:
            if isinstance(step, Node):
                nodes.append(step)
                continue
            if step.value not in needed:
                continue
            root = id(step.first or step)
            source = step.pieces[0][0] if step.identity else made.get(root)
            if source is None:
                made[root] = step.value
                node = self._node(step)
                rasters += 1
                regions += len(node.attrs["regions"])
            else:
                node = self._view(step, source)
                views += 1
                duplicates += not step.identity
            nodes.append(node)
        graph = self.graph.evolve(nodes=tuple(nodes), specs=self.specs).pruned()
        aliased = sum(
            m.first is not None and m.first is not m and v in self.alias for v, m in self.moves.items()
        )
        report = Report(
            self.transforms,
            self.rasters,
            rasters + duplicates + aliased,
            rasters,
            self.identities,
            views,
            regions,
        )
        return graph, report

    def _node(self, move: _Move) -> Node:
        origins = list(dict.fromkeys(p[0] for p in move.pieces))
        index = {name: i for i, name in enumerate(origins)}
        ordered = sorted(move.pieces, key=lambda p: p[4])
        regions = [r for p in ordered for r in kernel_regions(p, index[p[0]])]
        return _raster(move, origins, regions, move.fill, view=False)

    def _view(self, move: _Move, source: str) -> Node:
        size = move.spec.size
        regions = [Region(0, (1, 1, size), View(0, (0, 0, 1)), View(0, (0, 0, 1)))]
        return _raster(move, [source], regions, None, view=True)


def _raster(move: _Move, inputs: Sequence[str], regions: Sequence[Region], fill: Any, view: bool) -> Node:
    attributes: Mapping[str, Any] = {
        "regions": tuple(regions),
        "shape": move.spec.sizes,
        "dtype": move.spec.dtype.name,
        "fill": fill,
        "view": view,
    }
    return Node("Raster", tuple(inputs), (move.value,), attributes, move.name)


def lower(graph: Graph) -> tuple[Graph, Report]:
    """The graph with its transforms as merged Raster nodes, and what was done.

    Transforms whose specs or parameters are not static, and those of strings, stay as they are. Regions come out with
    exactly three axes. Unneeded nodes are dropped. Raises ShapeError if a transform does not fit its operands.
    """
    return _Lowering(graph).run()
