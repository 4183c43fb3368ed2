"""Training a classifier of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from nnlib import data, models
from nnlib.cli.train.options import Settings, training_options
from nnlib.cli.train.run import Job, run
from nnlib.data import ArrayDataset, DataLoader
from nnlib.nn import Module
from nnlib.train.recipes import AUGMENTATIONS, Recipe, recipe_for

__all__ = ["DATA", "command", "enlarged", "make_model"]

DATA: dict[str, Callable[[Path | None], tuple[ArrayDataset, ArrayDataset]]] = {
    "digits": lambda root: data.digits(),
    "mnist": data.mnist,
    "fashion-mnist": data.fashion_mnist,
    "cifar10": data.cifar10,
}
HIDDEN = 300  # neurons of the MLP's hidden layer: 784-300-10 on MNIST, as in LeCun et al. 1998
EVALUATION_BATCH = 500
LEAST_SIZES = {
    "lenet": 28,
    "vgg": 32,
}  # of images, by the model's family; smaller ones are enlarged


def command(model: str) -> click.Command:
    """Make the command that trains one of the classifiers."""

    @click.option(
        "--data", "data_name", type=click.Choice(list(DATA)), default="digits", show_default=True
    )
    @click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        help="Folder of data sets.  [default: NNLIB_DATA, then a download]",
    )
    @click.option(
        "--augment", type=click.Choice(list(AUGMENTATIONS)), help="Vary the training images."
    )
    @training_options(epochs=10)
    def train(settings: Settings, data_name: str, data_root: Path | None) -> None:
        train_set, test_set = DATA[data_name](data_root)
        recipe = recipe_for(model, len(train_set)).changed(**settings.changes)
        least = LEAST_SIZES.get(model.rstrip("0123456789"), 1)
        train_set, test_set = enlarged(train_set, least), enlarged(test_set, least)
        job = Job(
            model,
            data_name,
            recipe,
            make=lambda: make_model(model, train_set),
            load=lambda: _loader(train_set, recipe),
            held_out=test_set,
            about=f"{len(train_set):,} training and {len(test_set):,} test images",
            metrics=("error_rate",),
            held_out_batch=EVALUATION_BATCH,
            results=lambda last: {
                "test_loss": last["val_loss"],
                "test_error": last["val_error_rate"],
                "test_accuracy": 1 - last["val_error_rate"],
            },
        )
        run(job, settings)

    train.__doc__ = f"""Train {model} and report its error on the test images."""
    return click.command(model)(train)


def _loader(train_set: ArrayDataset, recipe: Recipe) -> DataLoader:
    return DataLoader(
        train_set,
        min(recipe.batch_size, len(train_set)),
        shuffle=True,
        prefetch=2,
        transform=recipe.transform(),
    )


def make_model(name: str, dataset: ArrayDataset) -> Module:
    """Make a model that fits the images and classes."""
    height, width, channels = dataset.arrays[0].shape[1:]
    classes = len(dataset.classes)
    if name == "mlp":
        return models.create(name, sizes=(height * width * channels, HIDDEN, classes))
    sizes = {"num_classes": classes, "in_channels": channels, "image_size": height}
    if name.startswith("vgg"):  # without it the deep ones do not learn
        return models.create(name, batch_norm=True, **sizes)
    return models.create(name, **sizes)


def enlarged(dataset: ArrayDataset, size: int) -> ArrayDataset:
    """Enlarge smaller images: repeat pixels an integer number of times, and pad with zeros.

    Examples
    --------
    >>> enlarged(ArrayDataset(np.ones((2, 8, 8, 1)), np.zeros(2)), 28).arrays[0].shape
    (2, 28, 28, 1)
    """
    images, labels = dataset.arrays
    sides = images.shape[1:3]
    if min(sides) >= size:
        return dataset
    times = max(1, size // max(sides))
    large = images.repeat(times, axis=1).repeat(times, axis=2)
    margins = [(max(0, size - times * n) // 2, -(-max(0, size - times * n) // 2)) for n in sides]
    large = np.pad(large, ((0, 0), *margins, (0, 0)))
    return ArrayDataset(large, labels, classes=dataset.classes)
