"""VGG-16 as published: 224×224×3 images, 1000 classes, here synthetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlib import models
from nnlib_benchmarks import flops
from nnlib_benchmarks.workloads.base import Budget, Plan, Samples, Workload

SIDE, CLASSES = 224, 1000
IMAGES = 32  #: distinct synthetic images

PLAN = Plan(
    batch=4,
    warmup=2,
    compute=Budget(seconds=40.0, least=5, most=30),
    end_to_end=Budget(seconds=12.0, least=3, most=10),
    block=1,
    breakdown=1,
    epochs=0,
)
QUICK_PLAN = Plan(2, 1, Budget(4.0, 3, 10), Budget(1.0, 2, 4), 1, 1, 0)


def workload(quick: bool, seed: int) -> Workload:
    """Make the workload; dropout is off, so that other libraries can be held to the same losses."""
    return Workload(
        name="vgg16",
        title="VGG-16, the network of the course's claim",
        data_text=f"{IMAGES} synthetic images of {SIDE}×{SIDE}×3, {CLASSES} classes",
        model_text="VGG-16 (Simonyan and Zisserman, 2014), dropout off",
        layers=vgg_layers(),
        build=lambda: models.VGG(16, dropout=0.0),
        train=synthetic_images(seed),
        test=None,
        target=0.0,
        learning_rate=0.001,
        momentum=0.9,
        flops=lambda batch: flops.training_step(flops.vgg16(batch, SIDE, CLASSES)),
        plan=QUICK_PLAN if quick else PLAN,
    )


def vgg_layers() -> list[dict[str, Any]]:
    """Describe VGG-16 for the peers."""
    layers: list[dict[str, Any]] = []
    for block in flops.VGG16_WIDTHS:
        layers += [{"kind": "conv", "padding": 1}, {"kind": "relu"}] * len(block)
        layers.append({"kind": "maxpool", "size": 2})
    relu = {"kind": "relu"}
    linear = {"kind": "linear"}
    return [*layers, {"kind": "flatten"}, linear, relu, linear, relu, linear]


def synthetic_images(seed: int) -> Samples:
    """Noise with mean 0 and variance 1 after scaling; labels at random."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    return Samples(pixels, random.integers(0, CLASSES, IMAGES), 1 / 73.9, -127.5 / 73.9)
