import pytest

import nnlib
from nnlib.errors import OptionError, ShapeError
from nnlib.nn import functional as F


def test_parameters_are_checked():
    x = nnlib.ones(2, 4)
    with pytest.raises(ShapeError, match=r"weight of layer_norm must have shape \(4,\)"):
        F.layer_norm(x, 4, nnlib.ones(3))
    with pytest.raises(ShapeError, match=r"bias of layer_norm must have shape \(4,\)"):
        F.layer_norm(x, (4,), None, nnlib.ones(3))
    with pytest.raises(ShapeError, match=r"weight of rms_norm must have shape \(4,\)"):
        F.rms_norm(x, 4, nnlib.ones(3))
    with pytest.raises(ShapeError, match=r"bias of group_norm must have shape \(4,\)"):
        F.group_norm(x, 2, None, nnlib.ones(3))
    with pytest.raises(ShapeError, match="num_groups = 3 must divide"):
        F.group_norm(x, 3)
    with pytest.raises(ShapeError, match=r"mean of batch_norm must have shape \(4,\)"):
        F.batch_norm(x, nnlib.zeros(3), nnlib.ones(4))
    with pytest.raises(OptionError, match="needs running_mean and running_var"):
        F.batch_norm(x, None, None)
    with pytest.raises(ShapeError, match=r"\(N, ..., C\)"):
        F.batch_norm(nnlib.ones(4), None, None, training=True)


def test_batch_norm_moves_the_running_values_only_in_training(backend):
    mean, variance = nnlib.zeros(1), nnlib.ones(1)
    x = nnlib.tensor([[1.0], [3.0]])
    F.batch_norm(x, mean, variance)
    assert (mean.tolist(), variance.tolist()) == ([0], [1])
    F.batch_norm(x, mean, variance, training=True, momentum=0.5)
    assert (mean.tolist(), variance.tolist()) == ([1], [1.5])
