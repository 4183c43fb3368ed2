"""Whole networks, one file each, and a table of them by name."""

from nnlib.models.lenet import LeNet5
from nnlib.models.mlp import MLP
from nnlib.models.registry import available, create
from nnlib.models.vgg import VGG

__all__ = ["MLP", "VGG", "LeNet5", "available", "create"]
