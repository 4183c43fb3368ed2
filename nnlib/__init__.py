"""nnlib: deep learning on NumPy or CuPy.

One core of tensors, layers and losses; every array operation is dispatched to a backend, NumPy on
the CPU or CuPy on a CUDA GPU.  ``NNLIB_BACKEND=cupy`` moves a program to the GPU.

Examples
--------
>>> import nnlib
>>> from nnlib import nn, optim
>>> _ = nnlib.manual_seed(0)
>>> train, test = nnlib.data.digits()
>>> model = nnlib.models.MLP((64, 32, 10))
>>> trainer = nnlib.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.01),
...                         metrics=["accuracy"], progress=False)
>>> history = trainer.fit(nnlib.data.DataLoader(train, batch_size=32, shuffle=True), epochs=3)
>>> trainer.evaluate(nnlib.data.DataLoader(test, batch_size=355))["accuracy"] > 0.9
True
"""

from nnlib import autograd, data, errors, io, models, nn, ops, optim, random, train
from nnlib._version import __version__
from nnlib.autograd import *
from nnlib.errors import NnlibError
from nnlib.io import load, save
from nnlib.jit import compile
from nnlib.memory import memory_summary
from nnlib.nn.summary import summary
from nnlib.ops import getitem, log_softmax, softmax, take_along_axis
from nnlib.ops.activation import *
from nnlib.ops.arithmetic import *
from nnlib.ops.comparison import *
from nnlib.ops.explog import *
from nnlib.ops.hyperbolic import *
from nnlib.ops.linalg import *
from nnlib.ops.reduction import *
from nnlib.ops.rounding import *
from nnlib.ops.shaping import *
from nnlib.random import manual_seed
from nnlib.train import History, Trainer
from nnlib_backends import (
    available_backends,
    backend_info,
    get_backend,
    set_backend,
    use_backend,
)

__all__ = [
    "History",
    "NnlibError",
    "Trainer",
    "__version__",
    "available_backends",
    "backend_info",
    "compile",
    "data",
    "errors",
    "get_backend",
    "getitem",
    "io",
    "load",
    "log_softmax",
    "manual_seed",
    "memory_summary",
    "models",
    "nn",
    "ops",
    "optim",
    "random",
    "save",
    "set_backend",
    "softmax",
    "summary",
    "take_along_axis",
    "train",
    "use_backend",
    *autograd.__all__,
    *ops.activation.__all__,
    *ops.arithmetic.__all__,
    *ops.comparison.__all__,
    *ops.explog.__all__,
    *ops.hyperbolic.__all__,
    *ops.linalg.__all__,
    *ops.reduction.__all__,
    *ops.rounding.__all__,
    *ops.shaping.__all__,
]
