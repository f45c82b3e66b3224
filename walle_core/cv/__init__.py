"""Images: OpenCV's names and semantics on Walle's Tensor, without OpenCV and without NumPy."""

from walle_core.cv.contours import *  # noqa: F403
from walle_core.cv.drawing import *  # noqa: F403
from walle_core.cv.histograms import *  # noqa: F403
from walle_core.cv.pose import *  # noqa: F403
