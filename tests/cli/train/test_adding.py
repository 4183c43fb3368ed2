import json

from click.testing import CliRunner

from nnlib.cli import main


def run(*args):
    result = CliRunner().invoke(main, ["train", "lstm-adding", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_it_learns_short_sequences():
    result = run("--length", 20, "--sequences", 8000, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["test_accuracy"] > 0.9
    assert report["solved"] == ("yes" if report["test_accuracy"] >= 0.999 else "no")
    assert report["options"]["length"] == 20
    assert "8,000 training and 2,560 test sequences" in result.stderr


def test_a_short_training_does_not_solve_it():
    result = run("--length", 20, "--sequences", 50)
    assert result.exit_code == 0
    assert "solved         no" in result.stdout


def test_too_short():
    assert run("--length", 10).exit_code == 2
