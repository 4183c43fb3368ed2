"""Layers and losses as functions, with PyTorch's names: ``from nnlib.nn import functional as F``.

Activations are operations: ``F.relu`` is ``nnlib.relu``.  The other functions check their arguments
and call `nnlib.ops`; they convert arrays and Python lists to tensors.  Two conventions differ from
PyTorch: images are (N, H, W, C), and classes are on the last axis.
"""

from nnlib.nn.functional.activation import *
from nnlib.nn.functional.attention import *
from nnlib.nn.functional.crossentropy import *
from nnlib.nn.functional.image import *
from nnlib.nn.functional.layers import *
from nnlib.nn.functional.loss import *
from nnlib.nn.functional.norm import *
from nnlib.ops.activation import *
from nnlib.ops.explog import sigmoid as sigmoid
from nnlib.ops.hyperbolic import tanh as tanh

__all__ = sorted(name for name, value in globals().items() if callable(value))
