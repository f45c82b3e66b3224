"""Selection of boxes in object detection."""

from __future__ import annotations

from typing import Any

from walle_core.ops.define import Sample, atomic
from walle_core.ops.numpy_lazy import np
from walle_core.ops.rules import require


def corners(boxes: Any, center_point_box: int) -> Any:
    """Boxes [..., 4] as (low0, low1, high0, high1), whichever diagonal or centre and size they give."""
    if center_point_box:
        middle, half = boxes[..., :2], boxes[..., 2:] / 2
        return np.concatenate([middle - half, middle + half], -1)
    return np.concatenate(
        [np.minimum(boxes[..., :2], boxes[..., 2:]), np.maximum(boxes[..., :2], boxes[..., 2:])], -1
    )


def select(
    boxes: Any, scores: Any, limit: int, iou_threshold: float, score_threshold: float | None
) -> list[int]:
    """Indices of kept boxes [n, 4], best first: greedy non-maximum suppression."""
    order = np.argsort(-scores, kind="stable")
    if score_threshold is not None:
        order = order[scores[order] > score_threshold]
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    while order.size and len(kept) < limit:
        best, order = order[0], order[1:]
        kept.append(int(best))
        low, high = (
            np.maximum(boxes[best, :2], boxes[order, :2]),
            np.minimum(boxes[best, 2:], boxes[order, 2:]),
        )
        common = np.prod(np.maximum(high - low, 0), axis=-1)
        union = area[best] + area[order] - common
        overlap = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        order = order[overlap <= iou_threshold]
    return kept


def _scalar(value: Any) -> Any:
    require(value.size == 1, f"thresholds and limits must have one element, not {value.size}")
    return value.reshape(())[()]


@atomic(
    "NonMaxSuppression", "detection",
    samples=(
        Sample(
            ([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 10, 1, 11]]], [[[0.9, 0.75, 0.6]]], 3, 0.5, 0.0), {},
            ("float32", "float32", "int64", "float32", "float32"),
        ),
    ),
)  # fmt: skip
def non_max_suppression(
    boxes: Any, scores: Any, max_output_boxes_per_class: Any = None, iou_threshold: Any = None,
    score_threshold: Any = None, *, center_point_box: int = 0,
) -> Any:  # fmt: skip
    """Rows (batch, class, box) of the boxes that overlap no better one by more than a threshold."""
    require(boxes.ndim == 3 and boxes.shape[2] == 4, f"boxes must be [batch, n, 4], not {list(boxes.shape)}")
    require(
        scores.ndim == 3 and (scores.shape[0], scores.shape[2]) == boxes.shape[:2],
        f"scores {list(scores.shape)} must be [batch, classes, n] of boxes {list(boxes.shape)}",
    )
    limit = 0 if max_output_boxes_per_class is None else int(_scalar(max_output_boxes_per_class))
    iou = np.float32(0) if iou_threshold is None else _scalar(iou_threshold)
    least = None if score_threshold is None else _scalar(score_threshold)
    plain = corners(boxes, center_point_box)
    rows = [
        (batch, kind, index)
        for batch in range(scores.shape[0])
        for kind in range(scores.shape[1])
        for index in select(plain[batch], scores[batch, kind], limit, iou, least)
    ]
    return np.array(rows, np.int64).reshape(-1, 3)
