import inspect

import pytest

import nnlib
from nnlib import nn
from nnlib.errors import ArgumentError
from nnlib.nn.function_layer import FunctionLayer

LAYERS = [
    value
    for name in nn.__all__
    if inspect.isclass(value := getattr(nn, name)) and issubclass(value, FunctionLayer)
]


def line(x, y, *, slope=2.0, words="a"):
    """``slope · x + y``, of two tensors.

    Parameters
    ----------
    x, y, words : whatever
        Three of them.
    slope : float
        Of the line; see outline(x).

    Returns
    -------
    Tensor

    Examples
    --------
    >>> line(1.0, 2.0)
    4.0
    """
    return slope * x + y


class Line(FunctionLayer, function=line):
    """Called with two tensors.

    Returns
    -------
    Something else
    """

    inputs = 2
    slope: float = 2.0
    words: str = "a"

    def forward(self, x, y):
        return self.function(x, y, slope=self.slope, words=self.words)


@pytest.mark.parametrize("layer", LAYERS)
def test_annotated_options_are_those_of_the_function(layer):
    """Type checkers read the annotations, Python the signature of the function."""
    options = [name for name in inspect.get_annotations(layer) if name != "reductions"]
    parameters = inspect.signature(layer).parameters.values()
    assert options == [p.name for p in parameters]
    for p in parameters:
        assert getattr(layer, p.name, p.empty) == p.default


def test_options_by_position_by_name_and_in_between():
    layer = Line(3.0, words="b")
    assert (layer.slope, layer.words, repr(layer)) == (3.0, "b", "Line(slope=3.0, words='b')")
    assert layer(1.0, 4.0) == 7.0
    layer.slope = 1.0
    assert layer(1.0, 4.0) == 5.0
    with pytest.raises(ArgumentError, match=r"Line takes slope, words. Received: the keyword 'x'"):
        Line(x=1)


def test_documentation_is_the_functions():
    assert inspect.getdoc(Line) == inspect.cleandoc("""
        ``slope · x + y``, of two tensors.

        Called with two tensors.

        Parameters
        ----------
        words : whatever
            Three of them.
        slope : float
            Of the line; see outline(x).

        Shape
        -----
        x, y : whatever
            Three of them.

        Returns
        -------
        Something else

        Examples
        --------
        >>> Line()(1.0, 2.0)
        4.0
    """)


def test_a_layer_of_ones_own_may_inherit():
    class Steep(nn.LeakyReLU):
        def __init__(self):
            super().__init__(0.5)

    assert repr(Steep()) == "Steep(negative_slope=0.5)"
    assert Steep()(nnlib.tensor([-2.0])).tolist() == [-1.0]


def test_a_base_says_what_its_layers_have_in_common_and_a_layer_does_not():
    class Plain(FunctionLayer, function=nn.functional.relu):
        pass

    class Other(nn.ReLU, function=nn.functional.elu):
        alpha: float = 1.0

    assert "documentation of" not in Plain.__doc__
    assert Other.__doc__.count("Examples") == 1
    assert "Applied to each value of a floating-point tensor" in Other.__doc__
    assert "max(x, 0)" not in Other.__doc__
