"""The group of trainings, each with its own options."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from nnlib.errors import did_you_mean

__all__ = ["TASKS", "train"]

TASKS = {
    "mlp": ("images", "A perceptron with one hidden layer, on images."),
    "lenet": ("images", "LeNet-5, on images."),
    "vgg11": ("images", "VGG with 8 convolutions, on images."),
    "vgg13": ("images", "VGG with 10 convolutions, on images."),
    "vgg16": ("images", "VGG with 13 convolutions, on images."),
    "vgg19": ("images", "VGG with 16 convolutions, on images."),
    "lstm-adding": ("adding", "An LSTM, on adding two numbers of a long sequence."),
    "translate": ("translation", "A transformer, on texts and their translations."),
    "char-gpt": ("char_gpt", "A small GPT, on the characters of a text."),
}
"""What can be trained → the module that has it, and its line in ``nnlib train --help``."""


class Tasks(click.Group):
    """The trainings, loaded at their use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the trainings."""
        return list(TASKS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Load a training."""
        if name not in TASKS:
            return None
        module = import_module(f"nnlib.cli.train.{TASKS[name][0]}")
        command = module.command(name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the trainings without loading them."""
        with formatter.section("Models"):
            formatter.write_dl([(name, line) for name, (_, line) in TASKS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the training, or suggest a similar one."""
        if args[0] not in TASKS and not args[0].startswith("-"):
            hint = did_you_mean(args[0], TASKS)
            ctx.fail(f"The model must be one of {', '.join(TASKS)}. Received: {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=Tasks, options_metavar="", subcommand_metavar="MODEL [OPTIONS]")
def train(**_: Any) -> None:
    """Train a model and report its accuracy on test data.

    \b
    nnlib train mlp
    nnlib train lenet --data mnist --epochs 20 --out run
    nnlib train lenet --data mnist --epochs 30 --out run --resume

    Each model has its own --help. Options that are not given come from a recipe for the model,
    which the output shows. The result is that of the last epoch: no choice depends on the test
    data.
    """  # noqa: D301 - \b is the character: click keeps the lines below it
