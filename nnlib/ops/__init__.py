"""Differentiable operations, one file per family.

Applied to arrays of a backend they return an array; applied to tensors, or to Python numbers and
lists alone, a tensor.  No file imports an array library: every operation uses the namespace of its
arrays' backend.  ``__all__`` of each file lists its public names.
"""

from nnlib.ops.activation import *
from nnlib.ops.activation import log_sigmoid as log_sigmoid
from nnlib.ops.arithmetic import *
from nnlib.ops.attention import *
from nnlib.ops.comparison import *
from nnlib.ops.convolution import *
from nnlib.ops.crossentropy import *
from nnlib.ops.dropout import *
from nnlib.ops.explog import *
from nnlib.ops.hyperbolic import *
from nnlib.ops.indexing import *
from nnlib.ops.linalg import *
from nnlib.ops.linear import *
from nnlib.ops.normalization import *
from nnlib.ops.pooling import *
from nnlib.ops.recurrent import *
from nnlib.ops.reduction import *
from nnlib.ops.rounding import *
from nnlib.ops.shaping import *
from nnlib.ops.softmax import *

__all__ = sorted(name for name, value in globals().items() if callable(value))
