"""The classic 784-300-10 network (LeCun et al., 1998) on MNIST, or on noise without MNIST."""

from __future__ import annotations

import numpy as np

from nnlib import data, models
from nnlib.errors import DataNotFoundError
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Samples, Workload

SIZES = (784, 300, 10)
SYNTHETIC_IMAGES = 8192

PLAN = Plan(
    batch=64,
    warmup=20,
    compute=Budget(seconds=5.0, least=200, most=2000),
    end_to_end=Budget(seconds=2.0, least=100, most=900),
    block=50,
    breakdown=50,
    epochs=10,
)
QUICK_PLAN = Plan(64, 10, Budget(1.0, 100, 400), Budget(0.5, 50, 200), 25, 10, 0)


def workload(quick: bool, seed: int) -> Workload:
    """Make the workload."""
    parts = real_images()
    train, test = parts if parts is not None else (synthetic_images(seed), None)
    real = "MNIST, 28×28 pixels as 784 features, 60,000 to train and 10,000 to test"
    noise = f"{SYNTHETIC_IMAGES:,} synthetic images of 784 features (MNIST was not found)"
    return Workload(
        name="mlp-mnist",
        title="784-300-10 on MNIST, the step that small-network speeds are quoted for",
        data_text=real if test is not None else noise,
        model_text="MLP 784-300-10, ReLU",
        layers=layers.mlp(SIZES),
        build=lambda: models.MLP(SIZES, activation="relu"),
        train=train,
        test=test,
        target=0.97,
        # on noise 0.1 is chaotic after some hundred steps: then no two libraries agree
        optimizer=Optimizer("sgd", 0.1 if test is not None else 0.01),
        plan=QUICK_PLAN if quick else PLAN,
    )


def real_images() -> tuple[Samples, Samples] | None:
    """Load MNIST if it is on this machine (see `nnlib.data.mnist`); never download it here."""
    try:
        parts = data.mnist(download=False, raw=True)
    except DataNotFoundError:
        return None
    train, test = (
        Samples(part.arrays[0].reshape(-1, 784), part.arrays[1], 1 / 255) for part in parts
    )
    return train, test


def synthetic_images(seed: int) -> Samples:
    """Noise of the right shape, labelled by a random linear rule, so that it can be learned."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (SYNTHETIC_IMAGES, 784), dtype=np.uint8)
    scores = (pixels - 127.5) @ random.standard_normal((784, 10))
    return Samples(pixels, scores.argmax(axis=1).astype(np.int64), 1 / 255)
