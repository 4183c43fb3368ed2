"""CIFAR-10, from its binary version (the other versions need pickle or MATLAB's format)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnlib.data.dataset import ArrayDataset
from nnlib.data.download import Published, find_files
from nnlib.errors import DataError, DataNotFoundError
from nnlib.reading import Content, parsing, reading

__all__ = ["cifar10"]

_ARCHIVE = "cifar-10-binary.tar.gz"
_INNER = "cifar-10-batches-bin"
_BATCHES = (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin")
_RECORD = 1 + 3 * 32 * 32  # a label, then the red, green and blue planes
_MOST = 10_000  # records in a file
_LONGEST = len(_BATCHES) * _MOST * _RECORD + (1 << 20)  # the whole archive, unpacked
_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

# The author publishes the MD5 c32a1d4ab5d03f1284b67883e8d87530; this SHA-256 is the one that
# several projects state for that file.  Neither was compared with the file here.
_CIFAR10 = Published(
    name="CIFAR-10",
    folders=("cifar10", "cifar-10", _INNER, f"cifar10/{_INNER}", f"cifar-10/{_INNER}"),
    layouts=(_BATCHES, (_ARCHIVE,)),
    hashes={
        _ARCHIVE: "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    },
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
)


def cifar10(
    root: str | os.PathLike[str] | None = None, *, download: bool = True, raw: bool = False
) -> tuple[ArrayDataset, ArrayDataset]:
    """Load CIFAR-10: 50,000 training and 10,000 test photographs of ten kinds of things.

    Parameters
    ----------
    root : path, optional
        A folder with the binary version, as the archive ``cifar-10-binary.tar.gz`` or unpacked, or
        with a folder ``cifar10`` that has it.  Without it: ``NNLIB_DATA``, then the cache in the
        user's home.
    download : bool
        Download missing files (170 MB) to ``root`` or the cache.
    raw : bool
        Return the pixels as bytes, 0 … 255: 184 MB of memory instead of 737.

    Returns
    -------
    train, test : ArrayDataset
        Images float32 in [0, 1], (N, 32, 32, 3), red-green-blue; labels int64, (N,).

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
    A. Krizhevsky, "Learning multiple layers of features from tiny images", technical report,
    University of Toronto, 2009.

    Examples
    --------
    >>> train, test = cifar10("data")  # doctest: +SKIP
    >>> train  # doctest: +SKIP
    ArrayDataset(50000 × [float32 (32, 32, 3), int64 ()])
    """
    paths = find_files(_CIFAR10, root, download)
    contents = _unpacked(paths[0]) if len(paths) == 1 else _read(paths)
    parts = [_decode(name, content) for name, content in contents.items()]
    return _dataset(parts[:-1], raw), _dataset(parts[-1:], raw)


def _read(paths: tuple[Path, ...]) -> dict[str, npt.NDArray[np.uint8]]:
    """File → content, in the order of `_BATCHES`."""
    contents = {}
    for path in paths:
        with reading(path, DataNotFoundError, DataError) as file:
            size = os.fstat(file.fileno()).st_size
            _check_size(str(path), size)
            with parsing(path, f"a file of {size} bytes", DataError):
                contents[str(path)] = Content(file).rest(size)
    return contents


def _unpacked(archive: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """Member → content, in the order of `_BATCHES`; nothing is written to the disk."""
    import tarfile

    contents = {}
    with (
        reading(archive, DataNotFoundError, DataError) as file,
        parsing(archive, "a complete tar.gz archive", DataError),
    ):
        stream: Any = _Limited(Content(file).stream)
        try:
            # as a stream: links are not followed
            with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 20) as tar:
                for member in tar:
                    if not 0 <= member.size <= _LONGEST:  # skipping it would read block by block
                        raise ValueError(f"a member of {member.size} bytes")
                    name = Path(member.name).name
                    if name in _BATCHES and member.isreg():
                        _check_size(f"{archive}: {name}", member.size)
                        content = tar.extractfile(member)
                        assert content is not None
                        contents[name] = np.frombuffer(content.read(), np.uint8)
        except tarfile.TarError as error:
            raise ValueError(str(error)) from error
    missing = [name for name in _BATCHES if name not in contents]
    if missing:
        raise DataError(
            f"{archive} must contain {', '.join(_BATCHES)}. Missing: {', '.join(missing)}"
        )
    return {f"{archive}: {name}": contents[name] for name in _BATCHES}


class _Limited:
    """A file that reads at most the size of a whole archive."""

    def __init__(self, file: Any) -> None:
        self._file, self._left = file, _LONGEST

    def read(self, count: int) -> bytes:
        data: bytes = self._file.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"more than {_LONGEST} unpacked bytes")
        return data


def _check_size(name: str, size: int) -> None:
    """Refuse a file of an impossible size before reading it."""
    if not size or size % _RECORD or size > _MOST * _RECORD:
        raise DataError(
            f"{name} must hold records of {_RECORD} bytes, at most {_MOST:,}. "
            f"Received: {size} bytes. Download it again"
        )


def _decode(name: str, content: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Split into records, (N, 3073), and check the labels."""
    records = content.reshape(-1, _RECORD)
    labels = records[:, 0]
    if labels.max() >= len(_CLASSES):
        raise DataError(
            f"{name} must hold labels in 0 … {len(_CLASSES) - 1}. "
            f"Received: {labels.max()} in record {labels.argmax()}"
        )
    return records


def _dataset(parts: list[npt.NDArray[np.uint8]], raw: bool) -> ArrayDataset:
    records = np.concatenate(parts)
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    images = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))  # NCHW → NHWC
    pixels = images if raw else np.divide(images, np.float32(255), dtype=np.float32)
    return ArrayDataset(pixels, records[:, 0].astype(np.int64), classes=_CLASSES)
