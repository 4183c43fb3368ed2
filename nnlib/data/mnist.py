"""The IDX file format, and two data sets in it: MNIST and Fashion-MNIST."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.data.dataset import ArrayDataset
from nnlib.data.download import Published, find_files
from nnlib.errors import DataError, DataNotFoundError, describe
from nnlib.reading import Content, parsing, reading

__all__ = ["fashion_mnist", "mnist", "read_idx"]

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_LAYOUTS = (
    tuple(f"{name}.gz" for name in _FILES),
    _FILES,
    tuple(name.replace("-idx", ".idx") for name in _FILES),  # as some archives unpack them
)
_CLASSES = {
    "MNIST": tuple("0123456789"),
    "Fashion-MNIST": (
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
}

# The hashes of the labels and of the test images were computed from the files.  That of the
# training images is the published one: our copy is packed otherwise, with the same content.
_MNIST = Published(
    name="MNIST",
    folders=("mnist", "MNIST/raw"),
    layouts=_LAYOUTS,
    hashes={
        "train-images-idx3-ubyte.gz": "sha256:"
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "sha256:"
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "sha256:"
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "sha256:"
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

# The authors publish MD5 sums only; they were not compared with the files here.
_FASHION_MNIST = Published(
    name="Fashion-MNIST",
    folders=("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),
    layouts=_LAYOUTS,
    hashes={
        "train-images-idx3-ubyte.gz": "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "md5:25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "md5:bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "md5:bb300cfdad3c16e7a12a480ee83cd310",
    },
    mirrors=(
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
)


def mnist(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, raw: bool = False
) -> tuple[ArrayDataset, ArrayDataset]:
    """Load MNIST: 60,000 training and 10,000 test images of handwritten digits.

    Parameters
    ----------
    root : path, optional
        A folder with the four IDX files (packed with gzip or not), or with a folder ``mnist`` that
        has them.  Without it: ``NNLIB_DATA``, then the cache in the user's home.
    download : bool
        Download missing files (11 MB) to ``root`` or the cache.
    raw : bool
        Return the pixels as bytes, 0 … 255: a quarter of the memory.

    Returns
    -------
    train, test : ArrayDataset
        Images float32 in [0, 1], (N, 28, 28, 1); labels int64, (N,).

    Raises
    ------
    DataNotFoundError
        If the files are not found; the text lists the folders.
    DataError
        If a file is damaged.
    OutputError
        If the folder for the download cannot be written.

    Notes
    -----
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", 1998; used in
    LeCun et al. 1998, "Gradient-based learning applied to document recognition".  CC BY-SA 3.0.

    Examples
    --------
    >>> train, test = mnist("data")  # doctest: +SKIP
    >>> train  # doctest: +SKIP
    ArrayDataset(60000 × [float32 (28, 28, 1), int64 ()])
    """
    return _load(_MNIST, root, download, raw)


def fashion_mnist(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, raw: bool = False
) -> tuple[ArrayDataset, ArrayDataset]:
    """Load Fashion-MNIST: 60,000 training and 10,000 test images of clothes.

    Arguments, results and errors are those of `mnist`; its folder is ``fashion_mnist``, the
    download 31 MB.

    Notes
    -----
    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", arXiv:1708.07747, 2017.  MIT licence.

    Examples
    --------
    >>> train, test = fashion_mnist("data")  # doctest: +SKIP
    >>> train.classes[9]  # doctest: +SKIP
    'ankle boot'
    """
    return _load(_FASHION_MNIST, root, download, raw)


def _load(
    data: Published, root: str | os.PathLike[str] | None, download: bool, raw: bool
) -> tuple[ArrayDataset, ArrayDataset]:
    paths = find_files(data, root, download)
    train, test = (_image_dataset(paths[i], paths[i + 1], _CLASSES[data.name], raw) for i in (0, 2))
    return train, test


def _image_dataset(
    images_path: Path, labels_path: Path, classes: tuple[str, ...], raw: bool
) -> ArrayDataset:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise DataError(
            f"{images_path} must hold images, uint8 (N, 28, 28). Received: {describe(images)}"
        )
    if labels.dtype != np.uint8 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{labels_path} must hold one label for each image of {images_path.name}, "
            f"uint8 ({len(images)},). Received: {describe(labels)}"
        )
    if labels.size and labels.max() >= len(classes):
        raise DataError(
            f"{labels_path} must hold labels in 0 … {len(classes) - 1}. "
            f"Received: {labels.max()} at position {labels.argmax()}"
        )
    pixels = images[..., None]  # (N, 28, 28, 1)
    if not raw:
        pixels = np.divide(pixels, np.float32(255), dtype=np.float32)
    return ArrayDataset(pixels, labels.astype(np.int64), classes=classes)


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read an IDX file, packed with gzip or not, as an array in the machine's byte order.

    Raises
    ------
    DataError
        If the file cannot be read, is not IDX, or is shorter or longer than its header says.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "three.idx")
    >>> _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    >>> read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    with (
        reading(path, DataNotFoundError, DataError) as file,
        parsing(path, "a readable file, gzip if packed", DataError),
    ):
        content = Content(file)
        head = content.read(4)
        if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _DTYPES or not head[3]:
            raise DataError(
                f"{path} must be an IDX file: two zero bytes, a type code "
                f"({', '.join(f'0x{code:02x}' for code in _DTYPES)}) and a number of axes. "
                f"Received: {head.hex(' ') or 'an empty file'}"
            )
        axes, dtype = head[3], np.dtype(_DTYPES[head[2]])
        sizes = content.read(4 * axes)
        if len(sizes) < 4 * axes:
            raise DataError(
                f"{path} must have a header of {4 + 4 * axes} bytes. "
                f"Received: {4 + len(sizes)} in all. Download it again"
            )
        shape = tuple(np.frombuffer(sizes, ">u4").tolist())
        count = math.prod(shape) * dtype.itemsize
        kind = f"an IDX file of {4 + 4 * axes + count} bytes for {dtype.name} {shape}"
        with parsing(path, kind, DataError):
            array = content.rest(count).view(dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
