"""L15: learning a grammar from examples: Elman network, GRU and LSTM on embedded Reber strings.

    B T [ B T X S E ] T E        B P [ B P T V P S E ] P E        …

In brackets are words of a small grammar.  The network reads a string symbol by symbol and has to
say what may come next.  The last symbol but one repeats the second, which must be remembered
through the whole word, although nothing in it needs that memory.

As in experiment 1 of Hochreiter & Schmidhuber (1997): 256 random strings to learn from, 256 others
to test; a trial is solved when after every symbol of all 512 strings the outputs of all symbols
that may come next are larger than those of all others.  Three such sets, with the same number of
random starts each.  In the paper LSTM solved 97 to 100 % of 30 trials, after 8,440 to 39,740
strings; Elman networks none, in 200,000.  Those followed the gradient through one step only, string
by string and at a fixed rate.  The gradient through the whole string and Adam change the picture.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from course import arguments, here, picture, table

import nnlib
from nnlib import nn, optim
from nnlib.data import REBER_SYMBOLS, embedded_reber, reber_dataset, reber_successors
from nnlib.models.charrnn import CELLS
from nnlib.nn import functional as F

NAMES = {"rnn": "Elman", "gru": "GRU", "lstm": "LSTM"}
LOOK = 400  # strings between two tests
FULL = "30 trials each, also with plain SGD, to at most 50,000 strings (about 15 minutes)"


@dataclass(frozen=True)
class Way:
    """A network and how it is trained."""

    cell: str
    width: int
    lr: float
    optimizer: str = "Adam"
    batch: int = 8
    through_time: bool = True

    def __str__(self) -> str:
        cut = "" if self.through_time else ", one step"
        return f"{NAMES[self.cell]} {self.width}, {self.optimizer}{cut}"


QUICK = (Way("lstm", 16, 0.02), Way("gru", 16, 0.02), Way("rnn", 15, 0.005))
THOROUGH = (
    *QUICK,
    Way("rnn", 30, 0.005),
    Way("lstm", 8, 1.0, "SGD", 1),
    Way("rnn", 15, 0.1, "SGD", 1),
    Way("rnn", 15, 0.1, "SGD", 1, through_time=False),
)


class Predictor(nn.Module):
    """A recurrent layer, and logits of the next symbol at every step."""

    def __init__(self, way: Way) -> None:
        super().__init__()
        self.recurrent = CELLS[way.cell](len(REBER_SYMBOLS), way.width)
        self.output = nn.Linear(way.width, len(REBER_SYMBOLS))
        self.through_time = way.through_time

    def forward(self, x: Any, steps: Any) -> Any:
        """(B, T, 7) symbols, and how many there are, → (B, T, 7)."""
        states, _ = self.recurrent(x, lengths=steps)
        if not self.through_time and nnlib.is_grad_enabled():
            states = self.again_from_constants(x, states.detach())
        return self.output(states)

    def again_from_constants(self, x: Any, states: Any) -> Any:
        """Elman's procedure (1990): the state before each step is an input like any other."""
        before = nnlib.concatenate([states[:, :1] * 0, states[:, :-1]], axis=1)
        layer = self.recurrent
        from_x = F.linear(x, layer.weight_ih_l0, layer.bias_ih_l0)
        return nnlib.tanh(from_x + F.linear(before, layer.weight_hh_l0, layer.bias_hh_l0))


def strings_of(number: int) -> tuple[Any, Any]:
    """Return a set of training strings as arrays, and (inputs, steps, allowed) of all strings."""
    train = embedded_reber(256, seed=10 + 2 * number)
    test = embedded_reber(256, seed=11 + 2 * number, exclude=train)
    longest = max(map(len, train + test)) - 1
    x, steps, _ = reber_dataset(train + test, longest).arrays
    everything = here(x, steps, reber_successors(train + test, longest))
    return reber_dataset(train, longest), everything


def trial(way: Way, number: int, seed: int, cap: int) -> tuple[list[float], Any]:
    """Train until all strings are predicted, or ``cap`` were seen.

    Returns the share of strings that are predicted at every look, and the network.
    """
    train, (x_all, steps_all, allowed) = strings_of(number)
    nnlib.manual_seed(seed)
    rng, model = np.random.default_rng(seed), Predictor(way)
    optimizer = getattr(optim, way.optimizer)(model.parameters(), lr=way.lr)

    @nnlib.compile
    def train_step(x: Any, steps: Any, target: Any) -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x, steps), target).backward()
        optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    @nnlib.compile
    def predicted() -> Any:
        """Whether the allowed symbols are above all others at every step, for each string."""
        logits = model(x_all, steps_all)
        least = nnlib.where(allowed, logits, np.inf).min(axis=-1)
        most = nnlib.where(allowed, -np.inf, logits).max(axis=-1)
        return (least > most).all(axis=1)

    shares: list[float] = []
    for k in range(1, cap // way.batch + 1):
        train_step(*train[rng.integers(len(train), size=way.batch)])
        if k * way.batch % LOOK == 0:
            with nnlib.no_grad():
                shares.append(float(predicted().numpy().mean()))
            if shares[-1] == 1:
                break
    return shares, model


def main(
    out: Path, ways: tuple[Way, ...] = QUICK, trials: int = 3, cap: int = 20_000
) -> dict[str, list[list[float]]]:
    results, rows, shown = {}, [], None
    for way in ways:
        found = [trial(way, k % 3, k, cap) for k in range(trials)]
        courses = results[str(way)] = [shares for shares, _ in found]
        solved = [len(shares) * LOOK for shares in courses if shares[-1] == 1]
        weights = sum(p.size for p in found[0][1].parameters())
        mean = f"{np.mean(solved):,.0f}" if solved else "–"
        worst = f"{min(shares[-1] for shares in courses):.1%}"
        rows.append(
            (way, weights, way.batch, way.lr, f"{len(solved)} of {trials}", mean, worst)
        )  # fmt: skip
        print(f"{way}: {len(solved)} of {trials} trials solved", flush=True)
        shown = shown or found[0][1]
    print(f"\nAt most {cap:,} strings; strings until solved: mean of the trials that were.")
    head = ("network", "weights", "batch", "rate", "solved", "strings until solved", "worst trial")
    table(head, rows)
    picture(out / "l15_reber.png", (11, 4.5), lambda figure: draw(figure, results, shown, cap))
    return results


def draw(figure: Any, results: dict[str, list[list[float]]], model: Any, cap: int) -> None:
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    looks = cap // LOOK
    for name, courses in results.items():
        # a solved trial stays solved
        rows = [shares + [shares[-1]] * (looks - len(shares)) for shares in courses]
        left.plot(np.arange(1, looks + 1) * LOOK, np.mean(rows, axis=0), label=name)
    left.set(xlabel="training strings", ylabel="share of strings predicted at every step")
    left.set(title="Mean of all trials", ylim=(0, 1.02))
    left.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(4, len(results)))
    string = "BPBTSXXTVPSEPE"
    x, steps, _ = reber_dataset([string]).arrays
    with nnlib.no_grad():
        shares = nn.Softmax()(model(*here(x, steps))).numpy()[0]
    image = right.imshow(shares.T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    right.plot(*np.nonzero(reber_successors([string])[0]), "o", color="C1", markersize=4)
    right.set_xticks(range(len(string) - 1), string[:-1])
    right.set_yticks(range(7), REBER_SYMBOLS)
    right.set(xlabel="symbol read", ylabel="symbol next")
    right.set(title=f"{next(iter(results))}: probability (dots: allowed)")
    figure.colorbar(image, ax=right)


if __name__ == "__main__":
    folder, full = arguments(__doc__, FULL)
    if full:
        main(folder, THOROUGH, trials=30, cap=50_000)
    else:
        main(folder)
