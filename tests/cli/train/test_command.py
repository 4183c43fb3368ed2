from click.testing import CliRunner

from nnlib.cli import main
from nnlib.cli.train.command import TASKS


def run(*args):
    return CliRunner().invoke(main, ["train", *args])


def test_help_lists_every_model():
    result = run("--help")
    assert result.exit_code == 0
    for name, (_, line) in TASKS.items():
        assert f"{name} " in result.stdout
        assert line.split()[0] in result.stdout


def test_which_model_was_meant():
    result = run("lenett")
    assert result.exit_code == 2
    assert "Did you mean 'lenet'?" in result.stderr


def test_every_model_has_a_command_of_its_name():
    for name in TASKS:
        result = run(name, "--help")
        assert result.exit_code == 0, result.output
        assert f"nnlib train {name} [OPTIONS]" in result.stdout
