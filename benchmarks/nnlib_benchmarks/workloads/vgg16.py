"""VGG-16 as published: 224×224×3 images, 1000 classes, here synthetic."""

from __future__ import annotations

import numpy as np

from nnlib import models
from nnlib_benchmarks.workloads import layers
from nnlib_benchmarks.workloads.base import Budget, Optimizer, Plan, Samples, Workload
from nnlib_benchmarks.workloads.layers import Layer

SIDE, CLASSES = 224, 1000
WIDTHS = (64, 128, 256, 512, 512)  #: channels of the five stages
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 16: (2, 2, 3, 3, 3)}  #: in each stage, by depth
IMAGES = 32  #: distinct synthetic images

PLAN = Plan(
    batch=4,
    warmup=4,
    compute=Budget(seconds=40.0, least=5, most=30),
    end_to_end=Budget(seconds=12.0, least=3, most=10),
    block=1,
    breakdown=1,
    epochs=0,
)
QUICK_PLAN = Plan(2, 4, Budget(4.0, 3, 10), Budget(1.0, 2, 4), 1, 1, 0)


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
        optimizer=Optimizer("sgd", 0.001, momentum=0.9),
        plan=QUICK_PLAN if quick else PLAN,
    )


def vgg_layers(
    depth: int = 16, side: int = SIDE, classes: int = CLASSES, in_channels: int = 3
) -> list[Layer]:
    """Describe VGG-11 or VGG-16 for images of `side`×`side`."""
    found, channels = [], in_channels
    for stage, width in enumerate(WIDTHS):
        for _ in range(CONVOLUTIONS[depth][stage]):
            found += [layers.conv(channels, width, 3, padding=1), layers.activation("relu")]
            channels = width
        found.append(layers.pool("maxpool"))
    cells = (side // 32) ** 2
    return [*found, layers.FLATTEN, *layers.mlp((cells * channels, 4096, 4096, classes))]


def synthetic_images(seed: int) -> Samples:
    """Noise with mean 0 and variance 1 after scaling; labels at random."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    return Samples(pixels, random.integers(0, CLASSES, IMAGES), 1 / 73.9, -127.5 / 73.9)
