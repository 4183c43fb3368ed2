import gzip
import io
import tarfile

import numpy as np
import pytest

from nnlib.data import cifar10
from nnlib.errors import DataError

NAMES = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]


@pytest.fixture
def batches():
    """Name → (labels (3,), images (3, 32, 32, 3)) of a small look-alike."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.integers(0, 10, 3), rng.integers(0, 256, (3, 32, 32, 3), np.uint8))
        for name in NAMES
    }


def file_content(labels, images):
    """Written as the publication describes it: label, then all red, all green, all blue."""
    content = b""
    for label, image in zip(labels, images, strict=True):
        content += bytes([label])
        for channel in range(3):
            content += image[:, :, channel].tobytes()
    return content


@pytest.fixture
def folder(batches, tmp_path):
    folder = tmp_path / "cifar10"
    folder.mkdir()
    for name, (labels, images) in batches.items():
        (folder / name).write_bytes(file_content(labels, images))
    return folder


def pack(folder, names=NAMES):
    archive = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name in names:
            content = (folder / name).read_bytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    for name in NAMES:
        (folder / name).unlink()
    return archive


def check(batches, train, test):
    for part, names in ((train, NAMES[:5]), (test, NAMES[5:])):
        images = np.concatenate([batches[name][1] for name in names])
        labels = np.concatenate([batches[name][0] for name in names])
        np.testing.assert_array_equal(part.arrays[0], images)
        np.testing.assert_array_equal(part.arrays[1], labels)


def test_folder(batches, folder):
    check(batches, *cifar10(folder, download=False, raw=True))
    check(batches, *cifar10(folder.parent, download=False, raw=True))


def test_archive_in_any_order(batches, folder):
    pack(folder, NAMES[::-1])
    check(batches, *cifar10(folder, download=False, raw=True))


def test_floats(batches, folder):
    train, test = cifar10(folder, download=False)
    assert train.arrays[0].dtype == np.float32
    assert train.arrays[0].shape == (15, 32, 32, 3)
    assert train.arrays[0].flags.c_contiguous
    assert train.arrays[1].dtype == np.int64
    assert train.classes[9] == "truck"
    np.testing.assert_allclose(test.arrays[0], batches["test_batch.bin"][1] / 255, rtol=1e-6)


def test_truncated_batch(folder):
    path = folder / "data_batch_4.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"data_batch_4\.bin must hold records of 3073.*9218 bytes"):
        cifar10(folder, download=False)


def test_empty_batch(folder):
    (folder / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"test_batch\.bin.*0 bytes"):
        cifar10(folder, download=False)


def test_label_out_of_range(folder):
    path = folder / "data_batch_2.bin"
    content = bytearray(path.read_bytes())
    content[3073] = 10
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"data_batch_2\.bin.*0 … 9.*10 in record 1"):
        cifar10(folder, download=False)


def test_truncated_archive(folder):
    archive = pack(folder)
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz must be a complete tar\.gz"):
        cifar10(folder, download=False)


def test_not_an_archive(folder):
    archive = pack(folder)
    archive.write_bytes(b"<html>404</html>" * 100)
    with pytest.raises(DataError, match=r"must be a complete tar\.gz"):
        cifar10(folder, download=False)


def test_archive_without_a_batch(folder):
    pack(folder, [name for name in NAMES if name != "data_batch_3.bin"])
    with pytest.raises(DataError, match=r"Missing: data_batch_3\.bin"):
        cifar10(folder, download=False)


def change_header(archive, field, value, place=0):
    """Write a field of a member's header, and its sum, into the archive."""
    data = bytearray(gzip.decompress(archive.read_bytes()))
    data[place + field : place + field + len(value)] = value
    data[place + 148 : place + 156] = b" " * 8
    data[place + 148 : place + 156] = f"{sum(data[place : place + 512]):06o}\0 ".encode()
    archive.write_bytes(gzip.compress(bytes(data)))


@pytest.mark.parametrize("kind", [b"0", b"1", b"2", b"S", b"L", b"x", b"\xff"])
@pytest.mark.parametrize("size", [b"77777777777\0", b"\x80" * 12, b"\xff" * 12, b"00000000000\0"])
def test_sizes_and_kinds_that_lead_nowhere(folder, kind, size):
    archive = pack(folder)
    change_header(archive, 156, kind)
    change_header(archive, 124, size)
    with pytest.raises(DataError):
        cifar10(folder, download=False)


@pytest.mark.parametrize("kind", [b"1", b"2"])
def test_links_are_no_files(folder, kind):
    archive = pack(folder)
    name = b"cifar-10-batches-bin/data_batch_1.bin"
    change_header(archive, 124, b"00000000000\0")
    change_header(archive, 156, kind + name)  # a link to itself
    with pytest.raises(DataError):
        cifar10(folder, download=False)


def test_an_archive_that_unpacks_to_more_than_the_data(folder, monkeypatch):
    pack(folder)
    monkeypatch.setattr("nnlib.data.cifar._LONGEST", 20_000)
    with pytest.raises(DataError, match=r"more than 20000 unpacked bytes|a member of"):
        cifar10(folder, download=False)


def test_a_file_that_is_larger_than_any_of_the_set(folder):
    with (folder / "data_batch_1.bin").open("r+b") as file:
        file.truncate(3073 * 10_001)
    with pytest.raises(DataError, match="at most 10,000"):
        cifar10(folder, download=False)
