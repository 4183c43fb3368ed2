"""L17: easy to use; the same program in nnlib, PyTorch and Keras.

Layers, losses, optimizers and the loop over batches have the same names and meaning as in PyTorch;
`Trainer` has `fit`, `evaluate` and `predict` as in Keras.  The differences: images are NHWC, as in
Keras, and `nnlib.compile` (the default of the trainer) replaces `torch.compile` or `jit_compile`.

The nnlib programs below are run, and if PyTorch is installed its program, too, from the same
weights on the same batches: then the three loss curves lie on top of each other.  The Keras
program is only shown.
"""

import difflib
import inspect
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from course import output_folder, picture, table

import nnlib

KERAS = """\
def keras_program(images, labels, epochs):
    import keras
    from keras import layers

    model = keras.Sequential([
        layers.Input((8, 8, 1)), layers.Flatten(),
        layers.Dense(32, activation="relu"), layers.Dense(10),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    model.fit(images, labels, batch_size=64, epochs=epochs, shuffle=False)
"""

NAMES = (
    ("nnlib", "PyTorch", "Keras"),
    [
        ("nnlib.tensor", "torch.tensor", "keras.ops.convert_to_tensor"),
        ("nn.Module, forward", "nn.Module, forward", "keras.Model, call"),
        ("nn.Sequential", "nn.Sequential", "keras.Sequential"),
        ("nn.Linear(64, 32)", "nn.Linear(64, 32)", "layers.Dense(32)"),
        ("nn.Conv2d(3, 8, 5)", "nn.Conv2d(3, 8, 5)", "layers.Conv2D(8, 5)"),
        ("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss()", "SparseCategoricalCrossentropy"),
        ("optim.SGD(parameters, lr)", "optim.SGD(parameters, lr)", "optimizers.SGD(lr)"),
        ("data.DataLoader", "utils.data.DataLoader", "keras.utils.PyDataset"),
        ("loss.backward()", "loss.backward()", "(inside fit)"),
        ("optimizer.step()", "optimizer.step()", "(inside fit)"),
        ("Trainer(…).fit(…)", "a loop of your own", "model.compile(…), fit(…)"),
        ("trainer.evaluate, predict", "a loop of your own", "model.evaluate, predict"),
        ("nnlib.compile", "torch.compile", "jit_compile=True"),
        ("nnlib.no_grad()", "torch.no_grad()", "(inside predict)"),
        ("model.state_dict()", "model.state_dict()", "model.get_weights()"),
        ("nnlib.save(model, path)", "torch.save(…, path)", "model.save_weights(path)"),
        ('model.to("cupy")', 'model.to("cuda")', "(by itself)"),
        ("images: (N, H, W, C)", "images: (N, C, H, W)", "images: (N, H, W, C)"),
    ],
)


# fmt: off
def nnlib_loop(images, labels, epochs, weights):
    from nnlib import data, nn, optim

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model.load_state_dict(weights)
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    dataset = data.ArrayDataset(images, labels)
    losses = []
    for _ in range(epochs):
        for x, y in data.DataLoader(dataset, batch_size=64):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def torch_loop(images, labels, epochs, weights):
    import torch
    from torch import nn, optim, utils

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    dataset = utils.data.TensorDataset(torch.tensor(images), torch.tensor(labels))
    losses = []
    for _ in range(epochs):
        for x, y in utils.data.DataLoader(dataset, batch_size=64):
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def nnlib_trainer(images, labels, epochs, weights):
    from nnlib import Trainer, data, nn, optim

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    model.load_state_dict(weights)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = Trainer(model, "cross_entropy", optimizer, metrics=["accuracy"], progress=False)
    batches = data.DataLoader(data.ArrayDataset(images, labels), batch_size=64)
    history = trainer.fit(batches, epochs=epochs)
    return history.step_losses
# fmt: on


def initial_weights() -> dict[str, np.ndarray]:
    """Make common weights, by their names in both libraries."""
    nnlib.manual_seed(0)
    first, second = nnlib.nn.Linear(64, 32), nnlib.nn.Linear(32, 10)
    layers = {"1": first, "3": second}
    return {f"{i}.{name}": np.array(value.numpy()) for i, layer in layers.items()
            for name, value in layer.state_dict().items()}  # fmt: skip


def together(left: str, right: str) -> str:
    """Write two programs as one; lines that only one of them has are marked."""
    marks = {"  ": "        ", "- ": "nnlib   ", "+ ": "PyTorch "}
    lines = difflib.ndiff(left.splitlines(), right.splitlines())
    return "\n".join((marks[line[:2]] + line[2:]).rstrip() for line in lines if line[:2] in marks)


def main(out: Path, epochs: int = 8) -> dict[str, list[float]]:
    print("The loop in nnlib and in PyTorch; lines without a mark are the same in both:\n")
    print(together(*map(inspect.getsource, (nnlib_loop, torch_loop))), end="\n\n")
    print("nnlib's trainer:\n")
    print(textwrap.indent(inspect.getsource(nnlib_trainer), "        "))
    print("The same in Keras:\n")
    print(textwrap.indent(KERAS, "        "))
    table(*NAMES)

    programs = {"nnlib, loop": nnlib_loop, "nnlib, Trainer": nnlib_trainer}
    if find_spec("torch") is None:
        print("PyTorch is not installed here, so its program is shown and not run.\n")
    else:
        programs["PyTorch, loop"] = torch_loop
    images, labels = nnlib.data.digits()[0].arrays
    given = images, labels, epochs, initial_weights()
    losses = {name: program(*given) for name, program in programs.items()}
    first = losses["nnlib, loop"]
    table(
        ("program", "steps", "first loss", "last loss", "largest difference from nnlib's loop"),
        [
            (name, len(each), f"{each[0]:.6f}", f"{each[-1]:.6f}", f"{gaps(each, first).max():.1e}")
            for name, each in losses.items()
        ],
    )
    picture(out / "l17_interface.png", (11, 3.8), lambda figure: draw(figure, losses))
    return losses


def gaps(losses: list[float], others: list[float]) -> np.ndarray:
    return np.abs(np.subtract(losses, others))


def draw(figure: Any, losses: dict[str, list[float]]) -> None:
    left, right = figure.subplots(1, 2)
    styles = [{"color": "0.8", "linewidth": 7}, {"color": "C0"}, {"color": "C1", "linestyle": ":"}]
    for (name, each), style in zip(losses.items(), styles, strict=False):
        left.semilogy(range(1, 1 + len(each)), each, label=name, **style)
    left.set(xlabel="steps", ylabel="loss of the batch", title="From the same weights")
    left.legend()
    first = losses["nnlib, loop"]
    for (name, each), style in list(zip(losses.items(), styles, strict=False))[1:]:
        style = {**style, "linestyle": "-"}
        gap = gaps(each, first)
        label = name if gap.any() else f"{name}: 0 in every step"
        right.semilogy(
            range(1, 1 + len(each)), np.where(gap > 0, gap, np.nan), label=label, **style
        )
    right.set(xlabel="steps", ylabel="difference", ylim=(1e-9, 1))
    right.set_title("Difference from nnlib's loop (float32 has 7 digits)")
    right.legend()
    for axes in (left, right):
        axes.grid(alpha=0.3)


if __name__ == "__main__":
    main(output_folder(__doc__))
