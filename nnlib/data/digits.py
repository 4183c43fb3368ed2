"""The UCI 8×8 handwritten digits, included in nnlib."""

from __future__ import annotations

import gzip
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.data.dataset import ArrayDataset

__all__ = ["digits"]

CLASSES = tuple("0123456789")


def digits(*, raw: bool = False) -> tuple[ArrayDataset, ArrayDataset]:
    """Load the 1,797 handwritten digits of 8×8 pixels included in nnlib.

    Of each class every fifth image (the 5th, 10th, … in the order of the file) is for testing, the
    others for training: 1,442 and 355 images, the same ones always, classes in equal parts.  Both
    parts hold the handwriting of the same 13 people.

    Parameters
    ----------
    raw : bool
        Return the pixels of the file: uint8, 0 … 16.

    Returns
    -------
    train, test : ArrayDataset
        Images float32 in [0, 1], (N, 8, 8, 1); labels int64, (N,).

    Notes
    -----
    E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49; its test set, whose writers do not occur in
    its training set.  Licence: CC BY 4.0.

    Examples
    --------
    >>> train, test = digits()
    >>> train
    ArrayDataset(1442 × [float32 (8, 8, 1), int64 ()])
    >>> len(test)
    355
    """
    with files("nnlib.data").joinpath("digits.csv.gz").open("rb") as file:
        lines = gzip.decompress(file.read()).decode().splitlines()
    table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)  # (1797, 65)
    images: npt.NDArray[Any] = table[:, :64].reshape(-1, 8, 8, 1)
    labels = table[:, 64].astype(np.int64)
    if not raw:
        images = images.astype(np.float32) / np.float32(16)

    rank = np.empty(len(labels), np.int64)  # number of each image among those of its class
    for digit in range(10):
        members = np.flatnonzero(labels == digit)
        rank[members] = np.arange(len(members))
    held_out = rank % 5 == 4
    train = ArrayDataset(images[~held_out], labels[~held_out], classes=CLASSES)
    test = ArrayDataset(images[held_out], labels[held_out], classes=CLASSES)
    return train, test
