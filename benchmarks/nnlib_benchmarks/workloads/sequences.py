"""The sequence models of the CPU comparison: an LSTM and a small GPT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnlib import data
from nnlib.errors import DataNotFoundError
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Optimizer, Samples, Workload
from nnlib_benchmarks.workloads.compare import EXAMPLES, MOMENTUM, noise, plan

STEPS, FEATURES, HIDDEN, CLASSES = 64, 32, 128, 10  #: of the LSTM
TELLING = 8  #: of the steps, the last ones, say to which class a sequence belongs

TEXT = "tinyshakespeare.txt"
VOCABULARY, CONTEXT = 65, 64
SUCCESSORS = 4  #: of a token in synthetic text


def lstm(quick: bool, seed: int) -> Workload:
    """Make the LSTM, which says to which class a sequence belongs."""
    described = [layers.lstm(FEATURES, HIDDEN), layers.linear(HIDDEN, CLASSES)]
    return Workload(
        name="lstm",
        title=f"LSTM, {STEPS} steps, {FEATURES} → {HIDDEN}, batch 32",
        data_text=f"{EXAMPLES:,} synthetic sequences of {STEPS}×{FEATURES}, {CLASSES} classes",
        model_text=f"LSTM {FEATURES}-{HIDDEN}, its last output → linear, {CLASSES}",
        layers=described,
        build=lambda: layers.build(described),
        train=sequences(seed),
        test=None,
        target=0.0,
        optimizer=Optimizer("sgd", 0.2, momentum=MOMENTUM),
        plan=plan(32, 12.0, 20, quick),
    )


def gpt(quick: bool, seed: int) -> Workload:
    """Make the GPT, which says at every position what token comes next."""
    described = layers.gpt(VOCABULARY, CONTEXT, blocks=4, heads=4, width=128)
    train, about = text(seed)
    return Workload(
        name="gpt",
        title=f"GPT, 4 layers of 128, context {CONTEXT}, batch 12",
        data_text=about,
        model_text="GPT, 4 layers, 4 heads, width 128, tied embeddings, dropout off",
        layers=[described],
        build=lambda: layers.build([described]),
        train=train,
        test=None,
        target=0.0,
        optimizer=Optimizer("adamw", 0.001, weight_decay=0.01),
        plan=plan(12, 15.0, 10, quick),
    )


def sequences(seed: int) -> Samples:
    """Noise; the class is the feature, among the first, that is largest in the last steps."""
    made = noise((STEPS, FEATURES), CLASSES, EXAMPLES, seed)
    sums = made.pixels[:, -TELLING:, :CLASSES].sum(axis=1, dtype=np.int64)
    return Samples(made.pixels, sums.argmax(axis=1), made.scale, made.shift)


def text(seed: int) -> tuple[Samples, str]:
    """Take Shakespeare's characters if they are on this machine, or else a Markov chain's."""
    try:
        tokens = data.text(TEXT).train
    except DataNotFoundError:
        about = f"synthetic text, {SUCCESSORS} successors of each of {VOCABULARY} tokens"
        return windows(markov_chain(EXAMPLES * CONTEXT + 1, seed)), f"{about} ({TEXT} not found)"
    return windows(tokens), f"characters of {TEXT}"


def windows(tokens: npt.NDArray[np.int64], context: int = CONTEXT, dtype: str = "uint8") -> Samples:
    """Cut a text into pieces of `context` tokens; the label of a token is the next one."""
    end = (len(tokens) - 1) // context * context
    pieces, labels = (tokens[i : i + end].reshape(-1, context) for i in (0, 1))
    return Samples(pieces.astype(dtype), labels, scale=None)


def markov_chain(count: int, seed: int, vocabulary: int = VOCABULARY) -> npt.NDArray[np.int64]:
    """Draw a text in which each token is followed by one of a few, all equally likely."""
    random = np.random.default_rng(seed)
    successors = random.integers(0, vocabulary, (vocabulary, SUCCESSORS)).tolist()
    tokens = [0]
    for choice in random.integers(0, SUCCESSORS, count - 1).tolist():
        tokens.append(successors[tokens[-1]][choice])
    return np.asarray(tokens, dtype=np.int64)
