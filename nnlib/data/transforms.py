"""Transforms of whole batches: scaling, flattening, one-hot labels, random crops and flips.

A transform is a function of a batch (first axis: examples) that returns a batch, of either
backend's arrays.  A random one is a `RandomTransform`, which also gets a generator: the loader
gives it a stream of its own for each batch, so that the result depends neither on threads nor on
what else draws random numbers.

Examples
--------
>>> from nnlib.data import transforms
>>> augment = transforms.compose(
...     transforms.pad_crop(4), transforms.flip(), transforms.normalize(0.5, 0.25)
... )
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from nnlib.errors import LabelError, OptionError, ShapeError, describe
from nnlib.random import Generator, default_generator
from nnlib_backends import backend_of
from nnlib_backends.base import Array
from nnlib_backends.interop import from_library

__all__ = [
    "RandomTransform",
    "Transform",
    "apply",
    "compose",
    "flatten",
    "flip",
    "normalize",
    "one_hot",
    "pad_crop",
]


class RandomTransform(ABC):
    """A transform that draws random numbers; subclass it to write one.

    Examples
    --------
    >>> import numpy as np
    >>> class Noise(RandomTransform):
    ...     def __call__(self, x, generator=default_generator):
    ...         return x + generator.normal(x.shape, backend="numpy")
    >>> Noise()(np.zeros((2, 3), np.float32)).shape
    (2, 3)
    """

    @abstractmethod
    def __call__(self, x: Array, generator: Generator = default_generator) -> Array:
        """Return the changed batch."""


Transform: TypeAlias = Callable[[Array], Array]


def apply(transform: Transform, x: Array, generator: Generator) -> Array:
    """Call a transform, giving the generator to a random one.

    Parameters
    ----------
    transform : callable
        Any transform.
    x : array, (B, ...)
        A batch; of another library, such as PyTorch, it is converted.
    generator : Generator
        The random stream of a `RandomTransform`.

    Examples
    --------
    >>> from nnlib.random import Generator
    >>> apply(flatten, np.zeros((5, 8, 8, 1)), Generator(0)).shape
    (5, 64)
    """
    x = from_library(x)
    if isinstance(transform, RandomTransform):
        return transform(x, generator)
    return transform(x)


@dataclass(frozen=True)
class _Compose(RandomTransform):
    transforms: tuple[Transform, ...]

    def __call__(self, x: Array, generator: Generator = default_generator) -> Array:
        for transform in self.transforms:
            x = apply(transform, x, generator)
        return x


def compose(*transforms: Transform) -> RandomTransform:
    """Apply several transforms, one after another.

    Examples
    --------
    >>> import numpy as np
    >>> compose(normalize(0, 255), flatten)(np.full((2, 3, 3, 1), 255, np.uint8)).shape
    (2, 9)
    """
    return _Compose(transforms)


def flatten(x: Array) -> Array:
    """Flatten each sample: (B, …) → (B, product of the rest).

    Examples
    --------
    >>> import numpy as np
    >>> flatten(np.zeros((5, 8, 8, 1))).shape
    (5, 64)
    """
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))  # -1 is ambiguous for an empty batch


def normalize(mean: float | Sequence[float], std: float | Sequence[float]) -> Transform:
    """Shift and scale to float32: ``(x - mean) / std``.

    ``normalize(0, 255)`` turns raw bytes into [0, 1].

    Parameters
    ----------
    mean, std : float or sequence of float
        In the units of the input; a sequence has one value a channel (last axis).

    Raises
    ------
    OptionError
        If a ``std`` is not a positive number.

    Examples
    --------
    >>> import numpy as np
    >>> normalize(1, 2)(np.array([[1.0, 5.0]]))
    array([[0., 2.]], dtype=float32)
    """
    center, scale = np.asarray(mean, np.float32), np.asarray(std, np.float32)
    if not (np.all(scale > 0) and np.all(np.isfinite(scale)) and np.all(np.isfinite(center))):
        raise OptionError(
            f"mean must be finite and std positive and finite. Received: mean={mean}, std={std}"
        )
    return partial(_normalized, center, scale)


def _normalized(center: Array, scale: Array, x: Array) -> Array:
    if center.ndim or scale.ndim:
        put = backend_of(x).asarray
        return (x.astype(np.float32) - put(center)) / put(scale)
    return (x.astype(np.float32) - float(center)) / float(scale)


def one_hot(num_classes: int) -> Transform:
    """Turn class labels into rows of 0 and 1, float32: (B,) → (B, num_classes).

    Parameters
    ----------
    num_classes : int
        How many classes there are; at least 1.

    Raises
    ------
    OptionError
        If there is no class.
    LabelError
        When called, if labels are not integers, or (checked on the host only) lie outside
        0 … num_classes − 1.

    Examples
    --------
    >>> import numpy as np
    >>> one_hot(3)(np.array([2, 0]))
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    if num_classes < 1:
        raise OptionError(f"num_classes must be at least 1. Received: {num_classes}")
    return partial(_encoded, num_classes)


def _encoded(num_classes: int, labels: Array) -> Array:
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise LabelError(f"labels must be integers, (B,). Received: {describe(labels)}")
    on_host = isinstance(labels, np.ndarray)
    if on_host and labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise LabelError(
            f"labels must be in 0 … {num_classes - 1}. Received: {labels.min()} … {labels.max()}"
        )
    columns = backend_of(labels).xp.arange(num_classes)
    return (labels[:, None] == columns).astype(np.float32)  # (B, 1) against (K,)


@dataclass(frozen=True)
class _PadCrop(RandomTransform):
    padding: int

    def __call__(self, x: Array, generator: Generator = default_generator) -> Array:
        batch, height, width, channels = _image_shape(x)
        backend, pad = backend_of(x), self.padding
        padded = backend.xp.zeros(
            (batch, height + 2 * pad, width + 2 * pad, channels), dtype=x.dtype
        )
        padded[:, pad : pad + height, pad : pad + width] = x
        corner = generator.integers(0, 2 * pad + 1, (2, batch))  # top and left of each window
        rows = corner[0][:, None] + np.arange(height)  # (B, H)
        columns = corner[1][:, None] + np.arange(width)  # (B, W)
        put = backend.asarray
        return padded[
            put(np.arange(batch)[:, None, None]), put(rows[:, :, None]), put(columns[:, None, :])
        ]


def pad_crop(padding: int) -> RandomTransform:
    """Shift each image by up to ``padding`` pixels in both directions, filling with zeros.

    The images get a border of zeros, and of each a window of the original size is cut at random
    (He et al. 2016, "Deep residual learning", §4.2, with 4 pixels on CIFAR-10).  Images are NHWC.

    Parameters
    ----------
    padding : int
        In pixels, 0 or more.

    Raises
    ------
    OptionError
        If ``padding`` is negative.
    ShapeError
        When called, if the batch is not (B, H, W, C).

    Examples
    --------
    >>> import numpy as np
    >>> pad_crop(2)(np.ones((4, 8, 8, 1), np.float32)).shape
    (4, 8, 8, 1)
    """
    if padding < 0:
        raise OptionError(f"padding must be 0 or more pixels. Received: {padding}")
    return _PadCrop(padding)


@dataclass(frozen=True)
class _Flip(RandomTransform):
    p: float

    def __call__(self, x: Array, generator: Generator = default_generator) -> Array:
        batch, *_ = _image_shape(x)
        backend = backend_of(x)
        chosen = generator.uniform((batch,), backend="numpy") < self.p
        mask = backend.asarray(chosen[:, None, None, None])  # (B, 1, 1, 1)
        return backend.xp.where(mask, x[:, :, ::-1], x)


def flip(p: float = 0.5) -> RandomTransform:
    """Mirror each image left to right with probability ``p``; images are NHWC.

    Parameters
    ----------
    p : float
        In [0, 1].

    Raises
    ------
    OptionError
        If ``p`` is outside [0, 1].
    ShapeError
        When called, if the batch is not (B, H, W, C).

    Examples
    --------
    >>> import numpy as np
    >>> flip(1.0)(np.arange(3.0).reshape(1, 1, 3, 1)).ravel()
    array([2., 1., 0.])
    """
    if not 0 <= p <= 1:
        raise OptionError(f"p must be in [0, 1]. Received: {p}")
    return _Flip(p)


def _image_shape(x: Array) -> tuple[int, int, int, int]:
    if x.ndim != 4:
        raise ShapeError(f"images must be (B, H, W, C). Received: {describe(x)}")
    return x.shape  # type: ignore[no-any-return]
