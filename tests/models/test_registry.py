import pytest

from nnlib.errors import OptionError
from nnlib.models import VGG, LeNet5, available, create
from nnlib.nn import init


def test_every_name_makes_a_model():
    with init.skip():
        for name in available():
            options = {"sizes": (2, 3, 1)} if name == "mlp" else {}
            assert create(name, **options).input_shape


def test_options_are_passed_on():
    with init.skip():
        assert create("lenet", num_classes=3).classifier.output.out_features == 3
        model = create("vgg13", image_size=32, num_classes=10)
    assert isinstance(model, VGG)
    assert model.depth == 13
    assert isinstance(create("lenet"), LeNet5)


def test_unknown_name_gets_a_guess():
    with pytest.raises(OptionError, match=r"one of mlp, lenet.*'vgg61'.*Did you mean 'vgg"):
        create("vgg61")


@pytest.mark.parametrize(("name", "options"), [("lenet", {"dept": 3}), ("mlp", {})])
def test_unknown_and_missing_options(name, options):
    with pytest.raises(OptionError, match=f"{name} takes "):
        create(name, **options)
