import pytest

from nnlib.errors import OptionError
from nnlib.patterns import matching

NAMES = ["features.0.weight", "features.0.bias", "features.10.weight", "head.weight", "head.bias"]


@pytest.mark.parametrize(
    ("pattern", "places"),
    [
        ("*", [0, 1, 2, 3, 4]),
        ("features.*", [0, 1, 2]),
        ("*.bias", [1, 4]),
        ("features.?.*", [0, 1]),
        ("features.[1-9]*", [2]),
        ("head.weight", [3]),
    ],
)
def test_patterns(pattern, places):
    assert matching(pattern, iter(NAMES)) == [NAMES[i] for i in places]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("features", r"Did you mean 'features\.\*'\?"),
        ("features.", r"Did you mean 'features\.\*'\?"),
        ("feature.*", r"Did you mean 'features\.\*'\?"),
        ("Head.bias", r"such as features.0.weight, features.0.bias, ….*Did you mean 'head.bias'"),
        (3, "a pattern must be a text"),
    ],
)
def test_a_pattern_that_matches_nothing_is_an_error(pattern, message):
    with pytest.raises(OptionError, match=message):
        matching(pattern, NAMES)


def test_a_model_without_names():
    with pytest.raises(OptionError, match="the model has none"):
        matching("*", [])
