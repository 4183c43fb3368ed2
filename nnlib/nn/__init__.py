"""Layers, losses and initialisers: ``from nnlib import nn``.

Names and options are PyTorch's.  Images are (N, H, W, C), sequences (batch, time, features), and
classes are on the last axis.
"""

from nnlib.nn import functional, init
from nnlib.nn.activation import (
    ELU,
    GELU,
    SELU,
    Hardsigmoid,
    Hardswish,
    Hardtanh,
    LeakyReLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    PReLU,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from nnlib.nn.attention import MultiheadAttention
from nnlib.nn.container import ModuleDict, ModuleList, Sequential
from nnlib.nn.conv import Conv1d, Conv2d
from nnlib.nn.dropout import Dropout
from nnlib.nn.embedding import Embedding
from nnlib.nn.freezing import freeze, unfreeze
from nnlib.nn.linear import Linear
from nnlib.nn.loss import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    KLDivLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
)
from nnlib.nn.module import Module
from nnlib.nn.norm import BatchNorm1d, BatchNorm2d, GroupNorm, LayerNorm, RMSNorm
from nnlib.nn.parameter import Parameter
from nnlib.nn.pool import AdaptiveAvgPool2d, AvgPool2d, GlobalAvgPool, MaxPool2d
from nnlib.nn.recurrent import GRU, LSTM, RNN
from nnlib.nn.shaping import Flatten, Identity, Unflatten
from nnlib.nn.state_dict import LoadReport

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "Flatten",
    "GlobalAvgPool",
    "GroupNorm",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "HuberLoss",
    "Identity",
    "KLDivLoss",
    "L1Loss",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LoadReport",
    "LogSigmoid",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Mish",
    "Module",
    "ModuleDict",
    "ModuleList",
    "MultiheadAttention",
    "NLLLoss",
    "PReLU",
    "Parameter",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "Unflatten",
    "freeze",
    "functional",
    "init",
    "unfreeze",
]
