import json

import pytest
from click.testing import CliRunner

from nnlib.cli.summary import summary


def run(*args):
    return CliRunner().invoke(summary, list(args))


def test_course_network_shows_13():
    result = run("mlp", "--sizes", "2,3,1", "--batch", "10")
    assert result.exit_code == 0
    total = next(line for line in result.stdout.splitlines() if line.startswith("total"))
    assert total.split()[1] == "13"
    assert "(10, 3)" in result.stdout


def test_json():
    report = json.loads(run("lenet", "--json", "--batch", "2").stdout)
    assert report["parameters"] == 61706
    assert report["input_shape"] == [2, 28, 28, 1]
    assert sum(row["parameters"] for row in report["rows"]) == 61706


def test_vgg_for_small_images():
    report = json.loads(
        run("vgg11", "--input", "32,32,1", "--classes", "10", "--batch-norm", "--json").stdout
    )
    assert report["input_shape"] == [1, 32, 32, 1]
    assert any(row["layer"] == "BatchNorm2d" for row in report["rows"])
    assert report["rows"][-1]["output_shape"] == [1, 10]


@pytest.mark.slow
def test_vgg16_as_published():
    assert "138,357,544" in run("vgg16").stdout


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["resnet"], "resnet"),
        (["mlp", "--sizes", "2,x"], "positive integers"),
        (["mlp", "--sizes", "2,0,1"], "positive integers"),
        (["vgg11", "--input", "32,16,3"], "square images"),
        (["lenet", "--batch", "0"], "batch"),
    ],
)
def test_wrong_usage_is_2(args, text):
    result = run(*args)
    assert result.exit_code == 2
    assert text in result.stderr
