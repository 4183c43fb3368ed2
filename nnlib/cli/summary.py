"""``nnlib summary``: a model's layers, shapes, parameters, FLOPs and memory."""

from __future__ import annotations

import json

import click

from nnlib import models
from nnlib.nn import init
from nnlib.nn.summary import summary as summarize


def _integers(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Split positive integers with commas between them, such as ``224,224,3``."""
    if value is None:
        return None
    try:
        numbers = tuple(int(part) for part in value.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise click.BadParameter(
            f"must be positive integers such as 224,224,3. Received: {value!r}", ctx, param
        )
    return numbers


@click.command()
@click.argument("model", type=click.Choice(models.available()))
@click.option(
    "--input", "input_shape", callback=_integers, help="Shape of one instance, such as 224,224,3."
)
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Number of instances.")
@click.option(
    "--sizes",
    callback=_integers,
    help="For mlp: input features, then each layer's neurons.  [default: 784,300,10]",
)
@click.option("--activation", help="For mlp and lenet.")
@click.option("--classes", type=click.IntRange(min=1), help="For lenet and vgg: outputs.")
@click.option("--batch-norm", is_flag=True, help="For vgg: normalise after every convolution.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def summary(
    model: str,
    input_shape: tuple[int, ...] | None,
    batch: int,
    sizes: tuple[int, ...] | None,
    activation: str | None,
    classes: int | None,
    batch_norm: bool,
    as_json: bool,
) -> None:
    """Show a model's layers, shapes, parameters, FLOPs and memory.

    \b
    nnlib summary vgg16 --batch 64
    nnlib summary mlp --sizes 2,3,1 --batch 10
    """  # noqa: D301 - \b is the character: click keeps the lines below it
    if model == "mlp" and sizes is None:
        sizes = (784, 300, 10)
    given = {
        "sizes": sizes,
        "activation": activation,
        "num_classes": classes,
        "batch_norm": batch_norm or None,
        **_model_size(model, input_shape),
    }
    with init.skip():  # the values are not used
        net = models.create(model, **{k: v for k, v in given.items() if v is not None})
    table = summarize(net, input_shape, batch)
    click.echo(json.dumps(table.to_dict(), indent=2) if as_json else str(table))


def _model_size(model: str, input_shape: tuple[int, ...] | None) -> dict[str, int]:
    """Options that make an image model for this input."""
    if model == "mlp" or input_shape is None:
        return {}
    if len(input_shape) != 3 or input_shape[0] != input_shape[1]:
        raise click.BadParameter(
            f"{model} is made for square images, HEIGHT,WIDTH,CHANNELS. Received: {input_shape}",
            param_hint="--input",
        )
    return {"image_size": input_shape[0], "in_channels": input_shape[2]}
