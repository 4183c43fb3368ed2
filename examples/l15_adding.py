"""L15: two numbers to remember for a long time: Elman network, GRU and LSTM on the adding problem.

Each step of a sequence has a value and a marker; two values of the first half are marked, and
after some hundred steps the network outputs their sum.  The gradient passes back through all of
these steps.  In an Elman network every step multiplies it by a matrix, and it vanishes;
the cell of an LSTM is updated by adding,

    c ← f c + i g              f near 1: remember,  i near 0: ignore the input

so the gradient is preserved, if the gates begin there: σ(log T) forgets 1/T in a step (Tallec &
Ollivier, 2018).  Experiment 4 of Hochreiter & Schmidhuber (1997): of 2,560 new sequences their LSTM
processed at most one wrongly (|error| ≥ 0.04) after 74,000 training sequences with T = 100, and
after 209,000 with T = 500.
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, here, picture, table

import nnlib
from nnlib.data import DataLoader, adding_problem
from nnlib.models import SequenceRegressor
from nnlib.nn import functional as F
from nnlib.optim import Adam, clip_grad_norm_
from nnlib.optim.schedules import CosineAnnealingLR

NAMES = {"rnn": "Elman network", "gru": "GRU", "lstm": "LSTM"}
BATCH, WIDTH, LR = 10, 16, 0.01
TASKS = (("lstm", 100), ("gru", 100), ("rnn", 100))
FULL = "three seeds each, and T = 500, too (about 5 minutes)"


def network(cell: str, length: int) -> SequenceRegressor:
    """Make a network with initially closed input gates and open forget gates."""
    keep = float(np.log(length))
    gates = {"lstm": {"input_bias": -keep, "forget_bias": keep}, "gru": {"forget_bias": keep}}
    return SequenceRegressor(2, width=WIDTH, cell=cell, **gates.get(cell, {}))


def learn(cell: str, length: int, sequences: int, seed: int, looks: int) -> list[tuple[int, float]]:
    """Train on that many sequences, each seen once.

    Returns (sequences seen, share of 2,560 new ones that are processed correctly), ``looks`` times.
    """
    nnlib.manual_seed(seed)
    train = adding_problem(sequences, length, seed=2 * seed)
    x_new, steps_new, target_new = here(*adding_problem(2560, length, seed=2 * seed + 1).arrays)
    model = network(cell, length)
    optimizer = Adam(model.parameters(), lr=LR)
    schedule = CosineAnnealingLR(optimizer, T_max=sequences // BATCH)

    @nnlib.compile
    def train_step(x: Any, steps: Any, target: Any) -> None:
        optimizer.zero_grad()
        F.mse_loss(model(x, steps), target).backward()
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    course, every = [], sequences // BATCH // looks
    for k, batch in enumerate(DataLoader(train, BATCH, drop_last=True), 1):
        train_step(*batch)
        schedule.step()
        if k % every == 0:
            with nnlib.no_grad():
                error = model(x_new, steps_new).numpy() - target_new.numpy()
            course.append((k * BATCH, float(np.mean(np.abs(error) < 0.04))))
    return course


def needed(course: list[tuple[int, float]], share: float = 0.999) -> str:
    """Return the first number of sequences after which that share of new ones was right."""
    found = [seen for seen, right in course if right >= share]
    return f"{found[0]:,}" if found else "–"


def main(
    out: Path,
    tasks: tuple[tuple[str, int], ...] = TASKS,
    sequences: int = 30_000,
    seeds: int = 1,
    looks: int = 30,
) -> dict[tuple[str, int, int], Any]:
    courses, rows = {}, []
    for cell, length in tasks:
        for seed in range(seeds):
            course = courses[cell, length, seed] = learn(cell, length, sequences, seed, looks)
            wrong = round(2560 * (1 - course[-1][1]))
            rows.append((NAMES[cell], length, seed, needed(course), f"{wrong:,} of 2,560"))
            print(f"{NAMES[cell]}, T = {length}, seed {seed}: {course[-1][1]:.2%}", flush=True)
    print()
    head = ("network", "T", "seed", "sequences until 99.9 %", f"wrong after {sequences:,}")
    table(head, rows)
    path = out / "l15_adding.png"
    picture(path, (8, 4), lambda figure: draw(figure, courses))
    return courses


def draw(figure: Any, courses: dict[tuple[str, int, int], Any]) -> None:
    axes, labels = figure.subplots(), set()
    kinds = list(dict.fromkeys((cell, length) for cell, length, _ in courses))
    for (cell, length, _), course in courses.items():
        seen, right = zip((0, np.nan), *course, strict=True)
        label = f"{NAMES[cell]}, T = {length}"
        axes.plot(
            seen, right, color=f"C{kinds.index((cell, length))}", alpha=0.9,
            label=None if label in labels else label,
        )  # fmt: skip
        labels.add(label)
    axes.set(xlabel="training sequences", ylabel="share of new sequences with |error| < 0.04")
    axes.set(ylim=(0, 1.02), title="Adding two numbers out of a long sequence")
    axes.grid(alpha=0.3)
    axes.legend(loc="center right")


if __name__ == "__main__":
    folder, full = arguments(__doc__, FULL)
    if full:
        main(folder, tasks=(*TASKS, ("lstm", 500)), seeds=3)
    else:
        main(folder)
