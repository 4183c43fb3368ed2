"""The networks of the CPU comparison, and others of sizes between and beyond.

``compare`` is the list of the published results.  ``compare-odd`` has other sizes, batches and
shapes, to show that nnlib is not tuned to the list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeAlias

import numpy as np

from nnlib import models
from nnlib_benchmarks.workloads import layers, lenet, mlp_mnist
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Samples, Workload
from nnlib_benchmarks.workloads.digits import flat_digits
from nnlib_benchmarks.workloads.layers import Layer
from nnlib_benchmarks.workloads.vgg16 import vgg_layers

MakeWorkload: TypeAlias = Callable[[bool, int], Workload]

EXAMPLES = 2048  #: of a small synthetic data set, unless a batch is larger
IMAGES = 64  #: of a synthetic data set for VGG
MOMENTUM = 0.9


def plan(batch: int, seconds: float, block: int, quick: bool) -> Plan:
    """Make the plan of a workload with a budget of `seconds` for all contestants.

    Examples
    --------
    >>> plan(32, 6.0, 50, quick=False).compute
    Budget(seconds=6.0, least=8, most=2000)
    """
    if quick:
        few = Budget(seconds=0.5, least=4, most=60)
        return Plan(
            batch, 4, few, Budget(0.1, 2, 20), min(block, 10), breakdown=2, epochs=0, energy=False
        )
    loading = Budget(seconds / 6, least=2, most=500)
    warmup = max(4, min(20, block))
    return Plan(batch, warmup, Budget(seconds, 8, 2000), loading, block, breakdown=2, epochs=0)


def mlp(
    sizes: Sequence[int],
    batch: int,
    quick: bool,
    seed: int,
    *,
    name: str,
    data: Callable[[int], tuple[Samples, str]] | None = None,
    optimizer: Optimizer | None = None,
    seconds: float = 6.0,
    block: int = 100,
) -> Workload:
    """Make a workload of fully connected layers with ReLU.

    Parameters
    ----------
    sizes : sequence of int
        Input features, then the neurons of every layer.
    batch : int
        Examples.
    quick : bool
        Few steps.
    seed : int
        For synthetic data.
    name : str
        Of the workload.
    data : callable, optional
        Seed → data and their name in words; noise if not given.
    optimizer : Optimizer, optional
        SGD with momentum if not given.
    seconds, block
        See `plan`.
    """
    words = "-".join(map(str, sizes))
    if data is None:
        train = noise((sizes[0],), sizes[-1], max(EXAMPLES, batch), seed)
        about = f"{len(train.labels):,} synthetic examples"
    else:
        train, about = data(seed)
    return Workload(
        name=name,
        title=f"fully connected, {words}, batch {batch}",
        data_text=about,
        model_text=f"MLP {words}, ReLU",
        layers=layers.mlp(sizes),
        build=lambda: models.MLP(sizes, activation="relu"),
        train=train,
        test=None,
        target=0.0,
        optimizer=optimizer or Optimizer("sgd", 0.05, momentum=MOMENTUM),
        plan=plan(batch, seconds, block, quick),
    )


def lenet5(
    batch: int, quick: bool, seed: int, *, name: str, block: int, rate: float = 0.05
) -> Workload:
    """Make LeNet-5 on MNIST, or on noise without MNIST."""
    train, about = mnist(seed)
    images = replace(train, pixels=train.pixels.reshape(-1, 28, 28, 1))
    return Workload(
        name=name,
        title=f"LeNet-5, batch {batch}",
        data_text=about,
        model_text="LeNet-5, tanh, mean pooling",
        layers=lenet.lenet_layers(),
        build=lambda: models.LeNet5(),
        train=images,
        test=None,
        target=0.0,
        optimizer=Optimizer("sgd", rate, momentum=MOMENTUM),
        plan=plan(batch, 10.0, block, quick),
    )


def vgg(
    depth: int, side: int, classes: int, batch: int, quick: bool, seed: int, *, name: str,
    rate: float, seconds: float, block: int,
) -> Workload:  # fmt: skip
    """Make VGG on noise, without dropout, whose masks would differ between libraries.

    The learning rates are such that the loss moves by more than the tolerance of the comparison
    within a few steps, and is not chaotic.
    """
    count = max(IMAGES, batch)
    return Workload(
        name=name,
        title=f"VGG-{depth} on {side}×{side} images, batch {batch}",
        data_text=f"{count} synthetic images of {side}×{side}×3, {classes} classes",
        model_text=f"VGG-{depth} (Simonyan and Zisserman, 2014), dropout off",
        layers=vgg_layers(depth, side, classes),
        build=lambda: models.VGG(depth, classes, dropout=0.0, image_size=side),
        train=noise((side, side, 3), classes, count, seed),
        test=None,
        target=0.0,
        optimizer=Optimizer("sgd", rate, momentum=MOMENTUM),
        plan=plan(batch, seconds, block, quick),
    )


ODD_IMAGE = (17, 23, 5)  #: height, width, channels


def odd_layers() -> list[Layer]:
    """Describe a small network of 5×5, strided 3×3 and 1×1 convolutions with odd channel counts.

    Examples
    --------
    >>> sum(layers.operations(odd_layers(), ODD_IMAGE, batch=1)) // 2  # multiply-adds
    818017
    """
    relu = layers.activation("relu")
    return [
        layers.conv(5, 11, 5, padding=2),  # 17×23
        relu,
        layers.conv(11, 23, 3, padding=1, stride=2),  # 9×12
        relu,
        layers.conv(23, 13, 1),
        relu,
        layers.pool("maxpool"),  # 4×6
        layers.FLATTEN,
        layers.linear(4 * 6 * 13, 7),
    ]


def odd_cnn(batch: int, quick: bool, seed: int, *, name: str) -> Workload:
    """Make the network of `odd_layers` on noise."""
    return Workload(
        name=name,
        title=f"convolutions of odd sizes, batch {batch}",
        data_text=f"{EXAMPLES:,} synthetic images of {'×'.join(map(str, ODD_IMAGE))}, 7 classes",
        model_text="5×5 conv, 3×3 conv with stride 2, 1×1 conv, max pooling, linear; ReLU",
        layers=odd_layers(),
        build=lambda: layers.build(odd_layers()),
        train=noise(ODD_IMAGE, 7, EXAMPLES, seed),
        test=None,
        target=0.0,
        optimizer=Optimizer("sgd", 0.003, momentum=MOMENTUM),
        plan=plan(batch, 8.0, 25, quick),
    )


def noise(shape: tuple[int, ...], classes: int, count: int, seed: int) -> Samples:
    """Noise with mean 0 and variance 1 after scaling; labels at random."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (count, *shape), dtype=np.uint8)
    return Samples(pixels, random.integers(0, classes, count), 1 / 73.9, -127.5 / 73.9)


def digits(_seed: int) -> tuple[Samples, str]:
    """Load the digits included in nnlib."""
    return flat_digits()[0], "UCI digits, 8×8 pixels as 64 features"


def mnist(seed: int) -> tuple[Samples, str]:
    """Load MNIST's training images, or make noise if it is not on this machine."""
    parts = mlp_mnist.real_images()
    if parts is None:
        return mlp_mnist.synthetic_images(seed), "synthetic images (MNIST was not found)"
    return parts[0], "MNIST, 28×28 pixels"


def _named(make: Callable[..., Workload], name: str, *arguments: object, **more: object) -> None:
    WORKLOADS[name] = partial(make, *arguments, name=name, **more)


WORKLOADS: dict[str, MakeWorkload] = {}
"""Name → function of (quick, seed), beside ``mlp-mnist``, ``lstm`` and ``gpt``."""

_named(mlp, "mlp-tiny", (2, 3, 2), 4, block=200)
_named(mlp, "mlp-digits", (64, 32, 10), 32, data=digits, block=200)
# a lower rate: on noise, without MNIST, 0.05 is chaotic after a hundred steps
_CALM = Optimizer("sgd", 0.01, momentum=MOMENTUM)
_named(
    mlp, "mlp-wide", (784, 1024, 1024, 10), 512, data=mnist, optimizer=_CALM, seconds=12.0, block=10
)
_named(lenet5, "lenet-64", 64, block=50)
_named(lenet5, "lenet-512", 512, block=10)
_named(vgg, "vgg16-32", 16, 32, 10, 32, rate=0.02, seconds=40.0, block=2)
_named(vgg, "vgg16-b2", 16, 224, 1000, 2, rate=0.001, seconds=60.0, block=1)
_named(vgg, "vgg16-b8", 16, 224, 1000, 8, rate=0.001, seconds=150.0, block=1)

ADAMW = Optimizer("adamw", 0.001, weight_decay=0.01)

_named(mlp, "mlp-odd-1", (129, 77, 53, 11), 1, block=200)
_named(mlp, "mlp-odd-37", (129, 77, 53, 11), 37, block=200)
_named(mlp, "mlp-adamw", (129, 77, 53, 11), 37, optimizer=ADAMW, block=200)
_named(mlp, "mlp-512", (784, 512, 512, 10), 128, data=mnist, optimizer=_CALM, block=50)
_named(lenet5, "lenet-1", 1, block=100, rate=0.002)  # one image a step: 0.05 is chaotic
_named(lenet5, "lenet-100", 100, block=50)
_named(odd_cnn, "cnn-odd", 19)
_named(vgg, "vgg11-48", 11, 48, 10, 3, rate=0.01, seconds=20.0, block=5)

COMPARE = (
    "mlp-tiny", "mlp-digits", "mlp-mnist", "mlp-wide", "lenet-64", "lenet-512", "vgg16-32",
    "vgg16-b2", "vgg16-b8", "lstm", "gpt",
)  # fmt: skip
COMPARE_ODD = (
    "mlp-odd-1", "mlp-odd-37", "mlp-adamw", "mlp-512", "lenet-1", "lenet-100", "cnn-odd",
    "vgg11-48",
)  # fmt: skip
