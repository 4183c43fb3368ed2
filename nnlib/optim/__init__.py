"""Optimizers, with PyTorch's names, formulas and defaults."""

from nnlib.optim import schedules
from nnlib.optim.adagrad import Adagrad
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import clip_grad_norm_, clip_grad_value_
from nnlib.optim.groups import param_groups
from nnlib.optim.optimizer import Optimizer
from nnlib.optim.rmsprop import RMSprop
from nnlib.optim.scaler import GradScaler
from nnlib.optim.sgd import SGD
from nnlib.optim.update import UpdateRule, update_rule

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradScaler",
    "Optimizer",
    "RMSprop",
    "UpdateRule",
    "clip_grad_norm_",
    "clip_grad_value_",
    "param_groups",
    "schedules",
    "update_rule",
]
