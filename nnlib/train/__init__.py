"""Training: the loop, its metrics, callbacks, checkpoints and history."""

from nnlib.train.callbacks import Callback, CSVLogger, LearningRateLogger
from nnlib.train.history import History
from nnlib.train.learning_curves import LearningCurve, learning_curve
from nnlib.train.metrics import (
    Accuracy,
    BinaryAccuracy,
    ErrorRate,
    FunctionMetric,
    LabelMetric,
    MeanAbsoluteError,
    MeanSquaredError,
    Metric,
    TopKAccuracy,
    Within,
    get_metric,
)
from nnlib.train.monitors import Checkpoint, EarlyStopping
from nnlib.train.nonfinite import NaNStop
from nnlib.train.trainer import Trainer

__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "ErrorRate",
    "FunctionMetric",
    "History",
    "LabelMetric",
    "LearningCurve",
    "LearningRateLogger",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Metric",
    "NaNStop",
    "TopKAccuracy",
    "Trainer",
    "Within",
    "get_metric",
    "learning_curve",
]
