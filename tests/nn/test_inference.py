import pytest

import nnlib
from nnlib import nn
from nnlib.nn.inference import inference


def test_every_layer_goes_back_to_its_own_mode():
    model = nn.Sequential(nn.Dropout(), nn.Dropout(), nn.Linear(2, 2))
    model[1].eval()
    with inference(model):
        assert not any(module.training for module in model.modules())
        assert not model(nnlib.ones(1, 2)).requires_grad
    assert [module.training for module in model] == [True, False, True]
    with pytest.raises(KeyError), inference(model):
        raise KeyError
    assert model.training
    assert model(nnlib.ones(1, 2)).requires_grad
