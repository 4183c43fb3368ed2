"""Learning-rate schedules, with PyTorch's names.

>>> import nnlib
>>> from nnlib import optim
>>> optimizer = optim.SGD([nnlib.zeros(1, requires_grad=True)], lr=0.1)
>>> schedule = optim.schedules.CosineAnnealingLR(optimizer, T_max=100)
"""

from nnlib.optim.schedules.base import LRScheduler
from nnlib.optim.schedules.cosine import CosineAnnealingLR, OneCycleLR
from nnlib.optim.schedules.decay import ExponentialLR, LambdaLR, LinearLR, MultiStepLR, StepLR
from nnlib.optim.schedules.plateau import ReduceLROnPlateau
from nnlib.optim.schedules.sequential import SequentialLR

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
