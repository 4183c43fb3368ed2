"""The public names: there, documented, and the ones that other programs rely on."""

import inspect

import pytest

import nnlib

RELIED_ON = {
    "nnlib": """tensor Tensor no_grad grad value_and_grad manual_seed set_backend use_backend
        get_backend available_backends backend_info nn optim data models Trainer summary save load
        gradcheck enable_grad exp sum where concatenate zeros ones""",
    "nnlib.nn": """Module Parameter Sequential Linear Conv2d MaxPool2d AvgPool2d Flatten BatchNorm1d
        BatchNorm2d LayerNorm RMSNorm Dropout Embedding Sigmoid Tanh Softplus ReLU LeakyReLU ELU
        GELU SiLU Softmax RNN LSTM GRU MultiheadAttention CrossEntropyLoss BCEWithLogitsLoss
        MSELoss functional init""",
    "nnlib.optim": "SGD Adam AdamW RMSprop Adagrad schedules",
    "nnlib.data": """digits mnist fashion_mnist cifar10 text adding_problem embedded_reber
        ArrayDataset DataLoader""",
    "nnlib.models": "MLP LeNet5 VGG Hopfield CharRNN SequenceRegressor GPT",
}


def resolve(path):
    value = nnlib
    for name in path.split(".")[1:]:
        value = getattr(value, name)
    return value


@pytest.mark.parametrize("module", RELIED_ON)
def test_names_that_others_rely_on(module):
    exported = set(resolve(module).__all__)
    assert set(RELIED_ON[module].split()) <= exported | {"schedules", "functional", "init"}
    for name in RELIED_ON[module].split():
        assert getattr(resolve(module), name) is not None


@pytest.mark.parametrize("module", RELIED_ON)
def test_all_is_true_and_has_no_doubles(module):
    names = resolve(module).__all__
    assert len(names) == len(set(names))
    for name in names:
        assert hasattr(resolve(module), name), f"{module}.{name} does not exist"


@pytest.mark.parametrize("module", RELIED_ON)
def test_every_public_name_is_documented(module):
    undocumented = [
        name
        for name in resolve(module).__all__
        if _needs_words(value := getattr(resolve(module), name)) and not inspect.getdoc(value)
    ]
    assert undocumented == []


def _needs_words(value):
    return callable(value) or inspect.ismodule(value)


def test_every_error_is_an_nnlib_error():
    kinds = [getattr(nnlib.errors, name) for name in nnlib.errors.__all__ if "Error" in name]
    assert kinds
    assert all(issubclass(kind, nnlib.NnlibError) for kind in kinds)


def test_version():
    assert nnlib.__version__.count(".") == 2
