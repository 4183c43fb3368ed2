"""``nnlib train``: train a model of the library on one of its data sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

import nnlib
from nnlib import data, models
from nnlib.data import ArrayDataset, DataLoader
from nnlib.errors import FileFormatError, OptionError, OutputError
from nnlib.io import reading, save
from nnlib.nn import Module
from nnlib.train import Callback, Checkpoint, CSVLogger, History, Trainer
from nnlib.train.files import check_writable, write_text
from nnlib.train.recipes import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, Recipe, recipe_for

DATA: dict[str, Callable[[Path | None], tuple[ArrayDataset, ArrayDataset]]] = {
    "digits": lambda root: data.digits(),
    "mnist": data.mnist,
    "fashion-mnist": data.fashion_mnist,
    "cifar10": data.cifar10,
}
HIDDEN = 300  # neurons of the MLP's hidden layer: 784-300-10 on MNIST, as in LeCun et al. 1998
EVALUATION_BATCH = 500


@click.command()
@click.argument("model", type=click.Choice(models.available()))
@click.option(
    "--data", "data_name", type=click.Choice(list(DATA)), default="digits", show_default=True
)
@click.option("--epochs", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images in a step.")
@click.option("--lr", type=click.FloatRange(min=0, min_open=True), help="Initial learning rate.")
@click.option("--optimizer", type=click.Choice(list(OPTIMIZERS)))
@click.option("--schedule", type=click.Choice(list(SCHEDULES)), help="Of the learning rate.")
@click.option("--weight-decay", type=click.FloatRange(min=0))
@click.option("--augment", type=click.Choice(list(AUGMENTATIONS)), help="Vary the training images.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--backend", help="numpy, cupy, cupy:1, auto.  [default: NNLIB_BACKEND or numpy]")
@click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    help="Folder of data sets.  [default: NNLIB_DATA, then a download]",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for weights, history and a checkpoint of every epoch.",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def train(
    model: str,
    data_name: str,
    epochs: int,
    seed: int,
    backend: str | None,
    data_root: Path | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
    quiet: bool,
    **changes: Any,
) -> None:
    """Train a model and report its error on the test images.

    \b
    nnlib train mlp
    nnlib train lenet --data mnist --epochs 20 --out run
    nnlib train lenet --data mnist --epochs 30 --out run --resume

    Options that are not given come from a recipe for the model, which the output shows. The result
    is that of the last epoch: nothing is chosen by looking at the test images.
    """  # noqa: D301 - \b is the character: click keeps the lines below it
    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder of the run to continue.")
    with nnlib.use_backend(backend or nnlib.get_backend()):
        train_set, test_set = DATA[data_name](data_root)
        recipe = recipe_for(model, len(train_set)).changed(**changes)
        options = {"model": model, "data": data_name, "seed": seed, **asdict(recipe)}
        if out is not None:
            _check_folder(out, options, resume)
        nnlib.manual_seed(seed)
        if model == "lenet":
            train_set, test_set = _large_enough(train_set), _large_enough(test_set)
        net = _make_model(model, train_set)
        _say(quiet, _title(model, net, data_name, train_set, test_set), _text(options))
        result = _run(net, recipe, train_set, test_set, epochs, out, resume, quiet)
    report = _report(options, net, result, out)
    click.echo(json.dumps(report, indent=2) if as_json else _table(report))


def _make_model(name: str, dataset: ArrayDataset) -> Module:
    """Make a model that fits the images and classes."""
    height, width, channels = dataset.arrays[0].shape[1:]
    classes = len(dataset.classes)
    if name == "mlp":
        return models.create(name, sizes=(height * width * channels, HIDDEN, classes))
    sizes = {"num_classes": classes, "in_channels": channels, "image_size": height}
    if name.startswith("vgg"):  # without it the deep ones do not begin to learn
        return models.create(name, batch_norm=True, **sizes)
    return models.create(name, **sizes)


def _large_enough(dataset: ArrayDataset) -> ArrayDataset:
    """Enlarge 8×8 images to the 28×28 that LeNet-5 takes: each pixel thrice, a margin of 2."""
    images, labels = dataset.arrays
    if images.shape[1] != 8:
        return dataset
    thrice = images.repeat(3, axis=1).repeat(3, axis=2)  # (N, 24, 24, 1)
    large = np.pad(thrice, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return ArrayDataset(large, labels, classes=dataset.classes)


def _run(
    net: Module,
    recipe: Recipe,
    train_set: ArrayDataset,
    test_set: ArrayDataset,
    epochs: int,
    out: Path | None,
    resume: bool,
    quiet: bool,
) -> History:
    loader = DataLoader(
        train_set,
        min(recipe.batch_size, len(train_set)),
        shuffle=True,
        prefetch=2,
        transform=recipe.transform(),
    )
    optimizer = recipe.make_optimizer(net)
    callbacks: list[Callback] = []
    if out is not None:
        callbacks = [Checkpoint(_checkpoint(out)), CSVLogger(out / "history.csv")]
    trainer = Trainer(
        net,
        "cross_entropy",
        optimizer,
        metrics=["error_rate"],
        schedule=recipe.make_schedule(optimizer, epochs * len(loader)),
        schedule_every="step",
        callbacks=callbacks,
        progress=not quiet,
    )
    if resume and out is not None:
        trainer.resume(_checkpoint(out))
        _say(quiet, f"continuing after epoch {trainer.epoch}")
        if trainer.epoch >= epochs:
            raise OptionError(
                f"--epochs must be more than the {trainer.epoch} epochs that are done. "
                f"Received: {epochs}"
            )
    history = trainer.fit(loader, val=test_set, epochs=epochs, batch_size=EVALUATION_BATCH)
    if out is not None:
        save(net, out / "weights.safetensors")
        history.to_json(out / "history.json")
    return history


# Files ---------------------------------------------------------------------------------------


def _checkpoint(out: Path) -> Path:
    return out / "checkpoint.safetensors"


def _check_folder(out: Path, options: dict[str, Any], resume: bool) -> None:
    """See that the folder can be written, and that it holds this run if one is to be continued."""
    there = _checkpoint(out).exists()
    if there and not resume:
        raise OutputError(
            f"{out} holds a run already. Continue it with --resume, or give another folder"
        )
    if resume:
        if not there:
            raise OptionError(f"--resume needs a run in {out}. Received: a folder without one")
        before = _read_options(out / "options.json")
        if before != options:
            differ = [name for name in options if before.get(name) != options[name]]
            raise OptionError(
                f"a run must be continued with its own options. Different: {', '.join(differ)}. "
                f"In {out}: {_text(before)}"
            )
    check_writable(_checkpoint(out))
    write_text(out / "options.json", json.dumps(options, indent=2) + "\n")


def _read_options(path: Path) -> dict[str, Any]:
    with reading(path) as file:
        content = file.read()
    try:
        options = json.loads(content)
    except ValueError as error:
        raise FileFormatError(f"{path} must hold the options of the run. {error}") from error
    if not isinstance(options, dict):
        raise FileFormatError(f"{path} must hold the options of the run. Received: {options!r}")
    return options


# Words ---------------------------------------------------------------------------------------


def _say(quiet: bool, *lines: str) -> None:
    if not quiet:
        for line in lines:
            click.echo(line, err=True)


def _title(
    model: str, net: Module, data_name: str, train_set: ArrayDataset, test_set: ArrayDataset
) -> str:
    return (
        f"nnlib {nnlib.__version__}: {model}, {_parameters(net):,} parameters, on {data_name}: "
        f"{len(train_set):,} training and {len(test_set):,} test images; "
        f"{_machine(nnlib.backend_info())}"
    )


def _parameters(net: Module) -> int:
    return sum(parameter.size for parameter in net.parameters())


def _machine(info: dict[str, Any]) -> str:
    threads = info["details"].get("blas_threads")
    blas = info["libraries"].get("blas")
    arithmetic = f", {blas} with {threads} threads" if blas and threads else ""
    return f"{info['backend']} on {info['name']}, {info['cores']} cores{arithmetic}"


def _text(options: dict[str, Any]) -> str:
    skipped = {"model", "data"}
    return ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in options.items()
        if name not in skipped
    )


def _report(
    options: dict[str, Any], net: Module, history: History, out: Path | None
) -> dict[str, Any]:
    last = history.epochs[-1]
    files = ("weights.safetensors", "checkpoint.safetensors", "history.json", "history.csv")
    return {
        "options": options,
        "parameters": _parameters(net),
        "epochs": len(history),
        "train_loss": last["loss"],
        "test_loss": last["val_loss"],
        "test_error": last["val_error_rate"],
        "test_accuracy": 1 - last["val_error_rate"],
        "train_seconds": round(sum(history["seconds"]), 3),
        "test_seconds": round(sum(history["val_seconds"]), 3),
        "backend": history.backend,
        "machine": history.machine,
        "history": history.epochs,
        "files": [] if out is None else [str(out / name) for name in files],
    }


def _table(report: dict[str, Any]) -> str:
    rows = [
        ("model", f"{report['options']['model']}, {report['parameters']:,} parameters"),
        ("data", report["options"]["data"]),
        ("epochs", str(report["epochs"])),
        ("test error", f"{report['test_error']:.2%}"),
        ("test loss", f"{report['test_loss']:.4f}"),
        ("training loss", f"{report['train_loss']:.4f}"),
        ("training time", f"{report['train_seconds']:.1f} s"),
        ("machine", _machine(report["machine"])),
        *(("file", name) for name in report["files"]),
    ]
    return "\n".join(f"{name:<14} {value}" for name, value in rows)
