"""L18: transfer learning: the features of a trained model are reused for another task.

A convolutional network learns the digits 0–4 from many images.  Then it learns 5–9 from a few
examples.  It gets a new last layer, the head, and

    from scratch      starts anew: new values everywhere
    frozen features   trains the head alone; the features stay unchanged
    fine-tuned        trains everything, the old layers ten times more slowly than the head

All get the same number of steps on the same examples, and each the learning rate that did best on
digits that are in no test, with examples that are not those of the comparison.  What was learned
before makes up for examples; with enough of them, starting anew catches up.  How much it is worth
depends on the first data set: features from 30,000 images of MNIST (--full) help; features from
the few hundred 8×8 ones in nnlib are learned as fast from scratch, and frozen ones are even worse.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, picture, table

import nnlib
from nnlib import nn, optim

FULL = "MNIST instead of the 8×8 digits in nnlib"
METHODS = ("from scratch", "frozen features", "fine-tuned")
RATES = (0.0003, 0.001, 0.003, 0.01)
SLOWER = 0.1  # learning rate of the old layers as a share of the new layer's
BATCH = 10
Images = tuple[np.ndarray, np.ndarray]


def load(full: bool) -> dict[str, Images]:
    """Return images and labels: 0–4 to learn first; 5–9, as 0–4, to draw from, to tune, to test."""
    train, test = ([*part.arrays] for part in (
        nnlib.data.mnist() if full else nnlib.data.digits()
    ))  # fmt: skip
    if not full:  # 8×8 → 28×28: each pixel thrice, and a margin
        for part in (train, test):
            part[0] = np.pad(part[0].repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2), (0, 0)))
    early, late = train[1] < 5, np.flatnonzero(train[1] >= 5)
    half = -2000 if full else len(late) // 2
    return {
        "source": (train[0][early], train[1][early]),
        "pool": (train[0][late[:half]], train[1][late[:half]] - 5),
        "validation": (train[0][late[half:]], train[1][late[half:]] - 5),
        "test": (test[0][test[1] >= 5], test[1][test[1] >= 5] - 5),
    }


def network() -> nn.Sequential:
    """Make a network of features and a head for five classes."""
    features = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
    )
    return nn.Sequential({"features": features, "head": nn.Linear(5 * 5 * 32, 5)})


def learn_first(source: Images, epochs: int) -> tuple[dict[str, Any], float]:
    """Train on 0–4; return the values and the last training error."""
    nnlib.manual_seed(0)
    model = network()
    trainer = nnlib.Trainer(model, "cross_entropy", optim.Adam(model.parameters(), lr=1e-3),
                            ["error_rate"], progress=False)  # fmt: skip
    history = trainer.fit(source, epochs=epochs, batch_size=64)
    return {name: value.numpy() for name, value in model.state_dict().items()}, history[
        "error_rate"
    ][-1]


def prepared(method: str, before: dict[str, Any], lr: float) -> tuple[nn.Module, optim.Optimizer]:
    """Make the network and the optimizer of a method."""
    model = network()
    if method == "from scratch":
        return model, optim.Adam(model.parameters(), lr=lr)
    model.load_state_dict(before)
    model.head = nn.Linear(model.head.in_features, 5)
    if method == "frozen features":
        nn.freeze(model, "features.*")
        return model, optim.Adam(model.parameters(), lr=lr)
    return model, optim.Adam(optim.param_groups(model, {"features.*": SLOWER * lr, "*": lr}))


def drawn(pool: Images, shots: int, seed: int) -> Images:
    """Draw so many examples of each class."""
    random = np.random.default_rng(seed)
    chosen = [random.permutation(np.flatnonzero(pool[1] == digit))[:shots] for digit in range(5)]
    index = np.concatenate(chosen)
    return pool[0][index], pool[1][index]


def score(
    method: str, before: Any, lr: float, few: Images, judged: Images, seed: int, steps: int
) -> float:
    """Train on a few examples; return the accuracy on other images."""
    nnlib.manual_seed(seed)
    model, optimizer = prepared(method, before, lr)
    batch_size = min(BATCH, len(few[0]))
    epochs = steps // -(-len(few[0]) // batch_size)
    schedule = optim.schedules.CosineAnnealingLR(optimizer, T_max=epochs)
    trainer = nnlib.Trainer(model, "cross_entropy", optimizer, ["accuracy"], schedule=schedule,
                            progress=False)  # fmt: skip
    trainer.fit(few, epochs=epochs, batch_size=batch_size)
    return trainer.evaluate(judged, batch_size=500)["accuracy"]


def tuned_rate(method: str, before: Any, data: Any, shots: int, seeds: int, steps: int) -> float:
    """Return the rate that is best on the validation images, with other examples and starts."""

    def mean(lr: float) -> float:
        return np.mean([
            score(method, before, lr, drawn(data["pool"], shots, seed), data["validation"], seed,
                  steps)
            for seed in range(100, 100 + seeds)
        ])  # fmt: skip

    return max(RATES, key=mean)


def main(
    out: Path,
    full: bool = False,
    shots: tuple[int, ...] = (2, 5, 20, 50),
    seeds: int = 5,
    steps: int = 100,
    tuning_seeds: int = 1,
    epochs: int = 15,
) -> dict[str, Any]:
    if full:
        shots, steps, tuning_seeds, epochs = (2, 5, 20, 100), 200, 2, 3
    data = load(full)
    before, error = learn_first(data["source"], epochs)
    print(f"0–4: {len(data['source'][0]):,} images, training error {error:.2%}; "
          f"5–9: {len(data['test'][0]):,} images to be tested with, {seeds} starts\n")  # fmt: skip
    rates, results = {}, {}
    for method in METHODS:
        for count in shots:
            if full or method not in results:  # in a hurry, one rate for all counts
                tuned_for = count if full else shots[len(shots) // 2]
                lr = tuned_rate(method, before, data, tuned_for, tuning_seeds, steps)
            rates[method, count] = lr
            results.setdefault(method, {})[count] = [
                score(method, before, lr, drawn(data["pool"], count, seed), data["test"], seed,
                      steps)
                for seed in range(seeds)
            ]  # fmt: skip
    table(
        ("examples a class", *(f"{method} (rate)" for method in METHODS)),
        [
            (count, *(f"{np.mean(results[m][count]):.1%} ({rates[m, count]:g})" for m in METHODS))
            for count in shots
        ],
    )
    gains = {method: {n: gain(results, method, n) for n in shots} for method in METHODS[1:]}
    table(
        ("better than from scratch by", *(f"{n} a class" for n in shots)),
        [
            (
                method,
                *(f"{mean:+.1%} [{low:+.1%}, {high:+.1%}]" for mean, low, high in row.values()),
            )
            for method, row in gains.items()
        ],
    )
    print("Accuracies are means; in brackets 95 % intervals of the mean paired difference.\n")
    picture(out / "l18_transfer.png", (11, 4.2), lambda figure: draw(figure, results, data, full))
    return {"accuracy": results, "gain": gains, "rates": rates, "before": before}


def gain(results: Any, method: str, shots: int) -> tuple[float, float, float]:
    """Return by how much a method is better than from scratch, start by start, and 95 % limits."""
    from scipy import stats

    one, other = results[method][shots], results["from scratch"][shots]
    mean = float(np.mean(np.subtract(one, other)))
    if len(one) < 2:
        return mean, -1.0, 1.0
    interval = stats.ttest_rel(one, other).confidence_interval(0.95)
    return mean, float(interval.low), float(interval.high)


def draw(figure: Any, results: Any, data: dict[str, Images], full: bool) -> None:
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.7))
    learned, new = left.subfigures(2, 1)
    learned.suptitle(f"learned first: {len(data['source'][0]):,} images of 0–4", fontsize="medium")
    new.suptitle("then: 5–9, with two examples of each", fontsize="medium")
    shown = {learned: data["source"], new: drawn(data["pool"], 2, 0)}
    for part, (images, labels) in shown.items():
        tiles = part.subplots(2, 5)
        for digit in range(5):
            for axes, i in zip(tiles[:, digit], np.flatnonzero(labels == digit), strict=False):
                axes.imshow(images[i, ..., 0], cmap="gray_r")
        for axes in tiles.flat:
            axes.axis("off")
    axes = right.subplots()
    for method, row in results.items():
        scores = 100 * np.array(list(row.values()))  # (counts, starts)
        style = "o--" if method == "fine-tuned" else "o-"  # it may hide another line
        (line,) = axes.plot(list(row), scores.mean(axis=1), style, label=method)
        axes.fill_between(list(row), scores.min(axis=1), scores.max(axis=1),
                          color=line.get_color(), alpha=0.15, linewidth=0)  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks(list(row), list(row))
    axes.minorticks_off()
    axes.set(xlabel="examples of each class", ylabel="accuracy on test images, %")
    name = "MNIST" if full else "8×8 digits"
    axes.set_title(f"5–9 of {name}: mean and range of {scores.shape[1]} starts")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


if __name__ == "__main__":
    folder, everything = arguments(__doc__, full=FULL)
    main(folder, full=everything)
