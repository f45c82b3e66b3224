"""Images: OpenCV's names and semantics on Walle's Tensor, without OpenCV and without NumPy.

Functions take any buffer (Tensor, matrix.Array, NumPy array) H × W or H × W × C and give Tensors. docs/cv.md says what
differs from OpenCV.
"""

from typing import TYPE_CHECKING, Any

from walle_core.cv.codecs import *  # noqa: F403
from walle_core.cv.color import *  # noqa: F403
from walle_core.cv.color_codes import *  # noqa: F403
from walle_core.cv.contours import *  # noqa: F403
from walle_core.cv.core import *  # noqa: F403
from walle_core.cv.drawing import *  # noqa: F403
from walle_core.cv.filters import *  # noqa: F403
from walle_core.cv.geometry import *  # noqa: F403
from walle_core.cv.histograms import *  # noqa: F403
from walle_core.cv.images import *  # noqa: F403
from walle_core.cv.kernels import *  # noqa: F403
from walle_core.cv.morphology import *  # noqa: F403
from walle_core.cv.pose import *  # noqa: F403
from walle_core.cv.thresholds import *  # noqa: F403
from walle_core.cv.transforms import *  # noqa: F403

if TYPE_CHECKING:
    from walle_core.cv.preprocess import Preprocess as Preprocess


def __getattr__(name: str) -> Any:  # it brings attrs, which half of the import would be spent on
    if name != "Preprocess":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from walle_core.cv.preprocess import Preprocess

    globals()[name] = Preprocess
    return Preprocess


def __dir__() -> list[str]:
    return sorted({*globals(), "Preprocess"})
