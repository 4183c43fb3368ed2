"""L14: convolutional networks.

LeNet-5 (LeCun et al., 1998) applies filters of 5×5 pixels, the same ones at every position, and
halves the resolution of their maps twice before the fully connected layers:

    28×28 → 6 maps 28×28 → 14×14 → 16 maps 10×10 → 5×5 → 120 → 84 → 10

A multi-layer network with as many parameters gets the same pixels without their positions.  Both
are trained alike.  The convolutional network makes fewer errors, and degrades less when the digits
are moved by a few pixels, which does not occur in training; pooling and shared filters help with
small movements only.

The digits are MNIST if its files are found (in the folder NNLIB_DATA), and otherwise the
enlarged 8×8 ones in nnlib.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, here, picture, table

import nnlib
from nnlib import models, optim
from nnlib.errors import DataNotFoundError

FULL = "MNIST, 20 epochs, and the network of 1998 as it was published"
SHIFTS = range(7)  # pixels
DIRECTIONS = ((0, 1), (0, -1), (1, 0), (-1, 0))
NETWORKS = {
    "LeNet-5": lambda: models.LeNet5(),
    "LeNet-5 of 1998": lambda: models.LeNet5(variant="1998"),
    "MLP 784-78-10": lambda: models.MLP((784, 78, 10), "tanh"),
}
# Learning rate and weight decay; chosen on 5,000 training images, held out for that.  The learning
# rate of 1998 is small because its logits are large.
OPTIONS = {"LeNet-5 of 1998": (0.002, 5e-3)}


def load(mnist: bool | None) -> tuple[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return a name, and (images, labels) for training and test; None: MNIST if found."""
    if mnist is not False:
        try:
            parts = nnlib.data.mnist(download=False)
            return "MNIST", [part.arrays for part in parts]
        except DataNotFoundError:
            if mnist:
                raise
    small = [part.arrays for part in nnlib.data.digits()]
    margins = ((0, 0), (2, 2), (2, 2), (0, 0))
    return "digits", [(np.pad(x.repeat(3, axis=1).repeat(3, axis=2), margins), y) for x, y in small]


def train(name: str, data: Any, epochs: int, batch_size: int) -> dict[str, Any]:
    """Train a network; return it with its errors and the time."""
    nnlib.manual_seed(0)
    model = NETWORKS[name]()
    rate, decay = OPTIONS.get(name, (0.05, 5e-4))
    lr = rate * batch_size / 64
    optimizer = optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=decay
    )
    steps = epochs * -(-len(data[0][0]) // batch_size)
    schedule = optim.schedules.CosineAnnealingLR(optimizer, T_max=steps)
    trainer = nnlib.Trainer(model, "cross_entropy", optimizer, ["error_rate"], schedule=schedule,
                            schedule_every="step", progress=False)  # fmt: skip
    start = time.perf_counter()
    history = trainer.fit(data[0], epochs=epochs, batch_size=batch_size)
    seconds = time.perf_counter() - start
    wrong = trainer.predict(data[1][0]).argmax(axis=1)
    return {
        "model": model,
        "parameters": sum(p.size for p in model.parameters()),
        "training error": history["error_rate"][-1],
        "error": float(np.mean(wrong != data[1][1])),
        "predictions": wrong,
        "shifted": shifted_errors(trainer, data[1]),
        "seconds": seconds,
    }


def shifted_errors(trainer: nnlib.Trainer, data: Any, count: int = 2000) -> list[float]:
    """Return the error on moved images, by pixels, as the mean of four directions."""
    images, labels = (array[:count] for array in data)
    return [
        float(np.mean([
            trainer.predict(moved(images, pixels * dy, pixels * dx)).argmax(axis=1) != labels
            for dy, dx in (DIRECTIONS if pixels else DIRECTIONS[:1])
        ]))
        for pixels in SHIFTS
    ]  # fmt: skip


def moved(images: np.ndarray, dy: int, dx: int) -> np.ndarray:
    """Move images down and to the right; zeros come in."""
    far = max(map(max, DIRECTIONS)) * max(SHIFTS)
    padded = np.pad(images, ((0, 0), (far, far), (far, far), (0, 0)))
    height, width = images.shape[1:3]
    return padded[:, far - dy : far - dy + height, far - dx : far - dx + width]


def main(
    out: Path, mnist: bool | None = None, epochs: int = 0, full: bool = False
) -> dict[str, dict[str, Any]]:
    source, data = load(True if full else mnist)
    small = source == "digits"
    epochs = epochs or (20 if full or small else 4)
    names = [name for name in NETWORKS if full or "1998" not in name]
    results = {name: train(name, data, epochs, batch_size=16 if small else 64) for name in names}
    print(f"{source}: {len(data[0][0]):,} images to train on in {epochs} epochs, "
          f"{len(data[1][0]):,} to be tested with\n")  # fmt: skip
    moved_by = (1, 2, 4)
    table(
        ("network", "parameters", "training error", "test error",
         *(f"moved by {p}" for p in moved_by), "seconds"),
        [
            (name, f"{r['parameters']:,}", f"{r['training error']:.2%}", f"{r['error']:.2%}",
             *(f"{r['shifted'][p]:.1%}" for p in moved_by), f"{r['seconds']:.1f}")
            for name, r in results.items()
        ],
    )  # fmt: skip
    path = out / "l14_convolution.png"
    picture(path, (13, 6.4), lambda figure: draw(figure, source, data[1], results))
    return results


@nnlib.no_grad()
def draw(figure: Any, source: str, test: Any, results: dict[str, dict[str, Any]]) -> None:
    images, labels = test
    lenet, mlp = results["LeNet-5"], results["MLP 784-78-10"]
    features = lenet["model"].features
    (example,) = here(images[int(np.argmax(labels == 5))][None])
    inside, right = figure.subfigures(1, 2, width_ratios=(1.35, 1))
    top, middle, bottom = inside.subfigures(3, 1, height_ratios=(1, 1, 1.9))
    filters = features.c1.weight.numpy()[..., 0]
    tiles(top, filters, 6, "C1: six filters of 5×5 that were learned", limit=np.abs(filters).max())
    maps = features[:2](example).numpy()[0].transpose(2, 0, 1)
    tiles(middle, maps, 6, "What each of them finds in a 5: its map, 28×28", limit=1)
    maps = features[:5](example).numpy()[0].transpose(2, 0, 1)
    tiles(bottom, maps, 8, "C3: 16 filters on these maps (made coarser), 10×10", limit=1)

    upper, lower = right.subfigures(2, 1, height_ratios=(1, 1.25))
    wrong = np.flatnonzero(lenet["predictions"] != labels)[:12]
    upper.suptitle(f"{len(wrong)} of LeNet-5's {(lenet['predictions'] != labels).sum()} errors, "
                   "true → given", fontsize="medium")  # fmt: skip
    for axes, i in zip(
        upper.subplots(2, 6).flat, [*wrong, *[None] * (12 - len(wrong))], strict=True
    ):
        axes.axis("off")
        if i is not None:
            axes.imshow(images[i, ..., 0], cmap="gray_r")
            axes.set_title(f"{labels[i]} → {lenet['predictions'][i]}", fontsize="small", pad=2)
    axes = lower.subplots()
    for name, result in results.items():
        axes.plot(SHIFTS, np.multiply(100, result["shifted"]), "o-", label=name)
    axes.set(xlabel="pixels by which the test images are moved", ylabel="error, %", ylim=(0, None))
    axes.set_title(f"{source}: {lenet['parameters']:,} against {mlp['parameters']:,} parameters")
    axes.grid(alpha=0.3)
    axes.legend()


def tiles(figure: Any, maps: np.ndarray, columns: int, title: str, limit: float) -> None:
    """Show maps side by side: blue for positive, red for negative."""
    figure.suptitle(title, fontsize="medium")
    for axes, values in zip(
        figure.subplots(-(-len(maps) // columns), columns).flat, maps, strict=True
    ):
        axes.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit)
        axes.axis("off")


if __name__ == "__main__":
    folder, everything = arguments(__doc__, full=FULL)
    main(folder, full=everything)
