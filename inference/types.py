"""Array types shared by the package. Shapes stand in the docstrings: NumPy's types do not hold them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float16Array = npt.NDArray[np.float16]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int8Array = npt.NDArray[np.int8]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]
AnyFloatArray = npt.NDArray[np.floating]
AnyIntArray = npt.NDArray[np.integer]
