"""L15: an associative memory gives back a whole picture for a damaged one.

Hopfield (1982) connects every neuron with all others.  One after the other, in random order,
neurons take the sign of their input from the others,

    s[i] ← sign(Σⱼ W[i, j] s[j]),      which never raises      E = −½ Σᵢⱼ W[i, j] s[i] s[j]

so the energy of a picture of ±1 falls until nothing changes.  Three memories:

    Hebb's rule   W = Σ ξ ξᵀ / N: patterns that resemble each other run into one
    projection    W projects onto the patterns' span: each is a valley, if they are fewer than N
    modern        ξ ← softmax(β ξ Xᵀ) X (Ramsauer 2021), the attention of a transformer: N neurons
                  hold far more than N patterns

How many random patterns does Hebb's rule hold?  In theory 0.138 N (Amit, Gutfreund & Sompolinsky
1985): there the overlap m = ξ·s / N of a pattern with its final state jumps down from 0.967.
Defined before measuring: a pattern is recalled if recall that starts at it ends with m > 0.9, and
the capacity is the load P / N at which the fraction of patterns recalled falls through 1/2,
interpolated linearly between the measured loads.  The theory is for N → ∞: in finite networks the
jump is gradual and at a higher load.  So the capacity is measured for several N, and extrapolated
linearly in N^(−1/2) to N → ∞.  (The extrapolation was added after measuring 250 and 500 neurons,
before larger ones.)
"""

from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, here, picture, table

import nnlib
from nnlib.models import Hopfield, ModernHopfield
from nnlib.random import Generator

BETA = 1.0
NETWORKS = ("Hebb's rule", "projection", "modern")
FULL = {
    "sizes": {250: 20, 500: 20, 1000: 12, 2000: 3},
    "loads": (0.05, 0.07, 0.09, 0.10, 0.11, 0.12, 0.125, 0.13, 0.132, 0.134, 0.136, 0.138, 0.14,
              0.142, 0.144, 0.146, 0.148, 0.15, 0.155, 0.16, 0.17, 0.18, 0.20),
}  # fmt: skip


def make(network: str, patterns: np.ndarray) -> Hopfield | ModernHopfield:
    (X,) = here(patterns)
    if network == "modern":
        return ModernHopfield(X, BETA)
    rule = "hebbian" if network == "Hebb's rule" else "projection"
    return Hopfield(patterns.shape[1]).store(X, rule)


def damage(patterns: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Flip that number of neurons of every pattern."""
    turned = np.random.default_rng(seed).random(patterns.shape).argsort(axis=1) < count
    return np.where(turned, -patterns, patterns)


# Pictures ----------------------------------------------------------------------------------------


def binary_digits() -> np.ndarray:
    """Return the training images as ±1, (P, 64), each once."""
    images = nnlib.data.digits()[0].arrays[0].reshape(-1, 64)
    pictures = np.where(images >= 0.5, 1, -1).astype(np.float32)
    return pictures[np.sort(np.unique(pictures, axis=0, return_index=True)[1])]


def recalled(network: str, patterns: np.ndarray) -> float:
    """Fraction of pictures that are recalled without an error from 6 wrong pixels."""
    memory = make(network, patterns)
    states = memory.recall(*here(damage(patterns, 6))).states.numpy()
    return float((np.sign(states) == patterns).all(axis=1).mean())


def watch(network: str, patterns: np.ndarray, probe: np.ndarray) -> dict[str, Any]:
    """Recall one picture in small steps; note state and energy after each."""
    memory, generator = make(network, patterns), Generator(1)
    (state,) = here(probe[None])
    states, time = [state], [0.0]
    for sweep in range(3):
        if isinstance(memory, ModernHopfield):
            states, time = [*states, memory(states[-1])], [*time, sweep + 1.0]
            continue
        order = generator.permutation(memory.size)
        for start in range(0, memory.size, 4):
            states.append(memory.update(states[-1], order[start : start + 4]))
            time.append(time[-1] + 4 / memory.size)
    energies = [memory.energy(state).item() for state in states]
    return {"time": time, "states": [s.numpy()[0] for s in states], "energy": energies}


# Capacity ----------------------------------------------------------------------------------------


def overlaps(N: int, P: int, seed: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Final overlaps of P patterns, from themselves and from 10 % wrong, and the sweeps needed."""
    patterns = np.random.default_rng(seed).choice(np.float32([-1, 1]), (P, N))
    memory = make("Hebb's rule", patterns)
    probes = here(np.concatenate([patterns, damage(patterns, N // 10, seed=10**6 + seed)]))
    states, steps, period = memory.recall(*probes, max_steps=1000, generator=Generator(seed))
    if not period.numpy().all():
        raise RuntimeError(f"no fixed point in 1000 sweeps: N = {N}, P = {P}, seed {seed}")
    ends = states.numpy().reshape(2, P, N)
    at_pattern, from_damaged = np.mean(ends * patterns, axis=2)
    return at_pattern, from_damaged, int(steps.numpy().max())


def curve(N: int, loads: tuple[float, ...], trials: int) -> dict[str, Any]:
    """Measure all loads; of every load new patterns in every trial."""
    rows, fractions = [], []
    for place, P in enumerate(sorted({round(load * N) for load in loads})):
        runs = [overlaps(N, P, seed=1000 * place + trial) for trial in range(trials)]
        shares = np.array([[np.mean(m > 0.9) for m in run[:2]] for run in runs])  # (trials, 2)
        error = shares[:, 0].std(ddof=1) / trials**0.5 if trials > 1 else float("nan")
        fraction, damaged = shares.mean(axis=0)
        means = [np.mean([run[k] for run in runs]) for k in (0, 1)]
        fractions.append((P / N, fraction, damaged, means[0], error))
        rows.append(
            (f"{P / N:.3f}", P, f"{fraction:.3f} ± {error:.3f}", f"{means[0]:.3f}",
             f"{damaged:.3f}", f"{means[1]:.3f}", max(run[2] for run in runs))
        )  # fmt: skip
    print(f"{N} neurons, {trials} trials at each load; fraction with m > 0.9, mean of m")
    head = ("P / N", "P", "from the pattern", "m", "from 10 % wrong", "m", "most sweeps")
    table(head, rows)
    x, at_pattern, from_damaged, mean, error = np.array(fractions).T
    names = ("load", "fraction", "damaged", "overlap", "error")
    points = dict(zip(names, (x, at_pattern, from_damaged, mean, error), strict=True))
    ends = {"capacity": crossing(x, at_pattern), "damaged_capacity": crossing(x, from_damaged)}
    print(f"Capacity: {ends['capacity']:.4f} N; from 10 % wrong {ends['damaged_capacity']:.4f} N\n")
    return points | ends


def crossing(x: np.ndarray, y: np.ndarray) -> float:
    """Where y first falls through 1/2, on straight lines; NaN if nowhere."""
    below = np.flatnonzero((y[:-1] >= 0.5) & (y[1:] < 0.5))
    if not len(below):
        return float("nan")
    k = below[0]
    return float(x[k] + (y[k] - 0.5) / (y[k] - y[k + 1]) * (x[k + 1] - x[k]))


def extrapolate(capacities: dict[int, float]) -> float:
    """Follow a straight line in N^(−1/2) to 0; NaN for fewer than two sizes."""
    x = np.array([N**-0.5 for N in capacities])
    return float(np.polyfit(x, list(capacities.values()), 1)[1]) if len(x) > 1 else float("nan")


# The whole ---------------------------------------------------------------------------------------


def main(
    out: Path,
    counts: tuple[int, ...] = (3, 10, 30, 100, 1000),
    sizes: dict[int, int] | None = None,
    loads: tuple[float, ...] = (0.05, 0.08, 0.1, 0.12, 0.13, 0.14, 0.15, 0.16, 0.18, 0.2),
) -> dict[str, Any]:
    nnlib.manual_seed(0)
    pictures = binary_digits()
    shares = {n: {name: recalled(name, pictures[:n]) for name in NETWORKS} for n in counts}
    print("Handwritten digits in 64 neurons: recalled without an error from 6 wrong pixels")
    table(
        ("pictures stored", *NETWORKS),
        [(n, *(f"{share:.0%}" for share in row.values())) for n, row in shares.items()],
    )
    probe = damage(pictures[2:3], 10)[0]
    shown = (("Hebb's rule", 3), ("Hebb's rule", 10), ("projection", 10), ("modern", 1000))
    walks = {(name, n): watch(name, pictures[:n], probe) for name, n in shown}
    curves = {N: curve(N, loads, trials) for N, trials in (sizes or {250: 10, 1000: 2}).items()}
    table(
        ("neurons", "capacity", "from 10 % wrong"),
        [
            (N, f"{points['capacity']:.4f} N", f"{points['damaged_capacity']:.4f} N")
            for N, points in curves.items()
        ],
    )
    limit = extrapolate({N: points["capacity"] for N, points in curves.items()})
    print(f"A straight line in N^(-1/2) through these capacities gives {limit:.4f} N for N → ∞\n")
    path = out / "l15_hopfield.png"
    picture(path, (13, 6), lambda figure: draw(figure, pictures[2], walks, curves))
    return {"recalled": shares, "walks": walks, "curves": curves, "limit": limit}


def draw(figure: Any, wanted: np.ndarray, walks: dict[Any, Any], curves: dict[int, Any]) -> None:
    left, right = figure.subfigures(1, 2, width_ratios=(8, 5))
    left.suptitle("Recall of a digit with 10 of 64 pixels wrong", fontsize="medium")
    grid = left.subplots(len(walks), 7, width_ratios=(1, 1, 1, 1, 1, 1, 2.2))
    sweeps = (0, 0.25, 0.5, 1, 2)
    for tiles, ((network, n), walk) in zip(grid, walks.items(), strict=True):
        tiles[0].imshow(wanted.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
        tiles[0].set_ylabel(f"{network}\n{n} stored", rotation=0, ha="right", va="center")
        for tile, moment in zip(tiles[1:6], sweeps, strict=True):
            if moment in walk["time"]:
                state = walk["states"][walk["time"].index(moment)]
                tile.imshow(state.reshape(8, 8), cmap="gray_r", vmin=-1, vmax=1)
            else:
                tile.axis("off")
        tiles[6].plot(walk["time"], walk["energy"], color="C3")
        tiles[6].tick_params(labelsize="small")
        tiles[6].set(xlim=(0, 2.5), xticks=(0, 1, 2))
        for tile in tiles[:6]:
            tile.set(xticks=[], yticks=[])
            tile.spines[:].set(visible=True, color="0.7")
    for tile, moment in zip(grid[0][1:6], ("probe", "¼ sweep", "½", "1", "2 sweeps"), strict=True):
        tile.set_title(moment, fontsize="small")
    grid[0][0].set_title("stored", fontsize="small")
    grid[0][6].set_title("energy", fontsize="small")
    grid[-1][6].set_xlabel("sweeps", fontsize="small")

    axes = right.subplots()
    for color, (N, points) in enumerate(curves.items()):
        axes.errorbar(points["load"], points["fraction"], points["error"], color=f"C{color}",
                      marker=".", label=f"N = {N}")  # fmt: skip
        axes.plot(points["load"], points["damaged"], color=f"C{color}", linestyle=":")
    axes.plot([], color="0.4", linestyle=":", label="from 10 % wrong")
    axes.axvline(0.138, color="0.6", linestyle="--", linewidth=1, label="theory, N → ∞")
    axes.set(xlabel="load P / N: random patterns per neuron", ylabel="fraction recalled (m > 0.9)")
    axes.set(title="Capacity of Hebb's rule", ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


if __name__ == "__main__":
    folder, full = arguments(
        __doc__, full="measure the capacity with 250 to 2000 neurons (6 minutes on a free core)"
    )
    main(folder, **(FULL if full else {}))
