"""Layers, losses and initialisers: ``from nnlib import nn``.

Names and options are PyTorch's.  Images are (N, H, W, C), sequences (batch, time, features), and
classes are on the last axis.
"""

from nnlib.nn import activation, functional, init, loss
from nnlib.nn.activation import *
from nnlib.nn.attention import MultiheadAttention
from nnlib.nn.container import ModuleDict, ModuleList, Sequential
from nnlib.nn.conv import Conv1d, Conv2d
from nnlib.nn.dropout import Dropout
from nnlib.nn.embedding import Embedding
from nnlib.nn.freezing import freeze, unfreeze
from nnlib.nn.linear import Linear
from nnlib.nn.loss import *
from nnlib.nn.module import Module
from nnlib.nn.norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from nnlib.nn.parameter import Parameter
from nnlib.nn.pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool, MaxPool2d
from nnlib.nn.recurrent import GRU, LSTM, RNN
from nnlib.nn.shaping import Flatten, Identity, Unflatten
from nnlib.nn.state_dict import LoadReport

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Identity",
    "LayerNorm",
    "Linear",
    "LoadReport",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "Parameter",
    "RMSNorm",
    "Sequential",
    "Unflatten",
    "freeze",
    "functional",
    "init",
    "unfreeze",
    *activation.__all__,
    *loss.__all__,
]
