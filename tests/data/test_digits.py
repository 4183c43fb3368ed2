import gzip
import hashlib
from importlib.resources import files

import numpy as np
import pytest

from nnlib.data import digits


def test_shapes_dtypes_and_range():
    for part, count in zip(digits(), (1442, 355), strict=True):
        images, labels = part.arrays
        assert images.shape == (count, 8, 8, 1)
        assert images.dtype == np.float32
        assert (images.min(), images.max()) == (0, 1)
        assert labels.shape == (count,)
        assert labels.dtype == np.int64
        assert part.classes == tuple("0123456789")


def test_the_split_has_every_class_in_equal_part():
    train, test = digits()
    of_class = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])
    np.testing.assert_array_equal(np.bincount(test.arrays[1]), of_class // 5)
    np.testing.assert_array_equal(np.bincount(train.arrays[1]), of_class - of_class // 5)


def test_raw_pixels_are_the_float_ones_times_16():
    for raw, scaled in zip(digits(raw=True), digits(), strict=True):
        assert raw.arrays[0].dtype == np.uint8
        np.testing.assert_array_equal(raw.arrays[0], scaled.arrays[0] * 16)


def test_values_are_those_of_the_publication():
    packed = files("nnlib.data").joinpath("digits.csv.gz").read_bytes()
    lines = gzip.decompress(packed).splitlines(keepends=True)
    values = b"".join(line for line in lines if not line.startswith(b"#"))
    expected = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
    assert hashlib.sha256(values).hexdigest() == expected


def test_file_carries_its_attribution():
    packed = files("nnlib.data").joinpath("digits.csv.gz").read_bytes()
    head = gzip.decompress(packed)[:600].decode()
    for needed in ("Alpaydin", "Kaynak", "CC BY 4.0", "https://doi.org/10.24432/C50P49"):
        assert needed in head


@pytest.mark.peers
def test_the_images_are_those_of_scikit_learn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    theirs = sklearn_datasets.load_digits()
    train, test = digits(raw=True)
    ours = np.concatenate([train.arrays[0], test.arrays[0]]).reshape(-1, 64)
    rows = {tuple(row) for row in theirs.data.astype(int).tolist()}
    assert len(ours) == len(theirs.data)
    assert {tuple(row) for row in ours.tolist()} == rows
