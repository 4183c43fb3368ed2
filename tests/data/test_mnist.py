import gzip
import struct
import zlib

import numpy as np
import pytest

from nnlib.data import fashion_mnist, mnist, read_idx
from nnlib.errors import DataError

GZ = "train-images-idx3-ubyte.gz"
THREE = b"\0\0\x08\x01\0\0\0\x03\x01\x02\x03"  # [1, 2, 3], uint8


class TestRealMnist:
    def test_whole(self, data_root):
        train, test = mnist(data_root, download=False, raw=True)
        assert train.arrays[0].shape == (60000, 28, 28, 1)
        assert test.arrays[0].shape == (10000, 28, 28, 1)
        # class counts of the training labels, and the mean pixel that everybody normalizes with
        counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        np.testing.assert_array_equal(np.bincount(train.arrays[1]), counts)
        assert train.arrays[0].mean() / 255 == pytest.approx(0.1307, abs=5e-5)

    def test_test_part_as_float(self, data_root):
        images = read_idx(data_root / "mnist" / "t10k-images-idx3-ubyte.gz")
        _, test = mnist(data_root / "mnist", download=False)
        assert test.arrays[0].dtype == np.float32
        assert test.arrays[0].max() == 1
        np.testing.assert_array_equal(np.rint(test.arrays[0][..., 0] * 255), images)
        np.testing.assert_array_equal(test.arrays[1][:5], [7, 2, 1, 0, 4])


class TestLoading:
    def test_small_set(self, small_mnist):
        train, test = mnist(small_mnist)
        assert (len(train), len(test)) == (7, 3)
        assert train.arrays[0].dtype == np.float32
        assert train.arrays[1].dtype == np.int64
        raw, _ = mnist(small_mnist, raw=True)
        assert raw.arrays[0].dtype == np.uint8
        np.testing.assert_array_equal(np.rint(train.arrays[0] * 255), raw.arrays[0])

    def test_fashion_mnist_has_its_own_folder_and_names(self, small_mnist):
        small_mnist.rename(small_mnist.with_name("fashion_mnist"))
        train, _ = fashion_mnist(small_mnist.parent, download=False)
        assert train.classes[9] == "ankle boot"
        assert len(train.classes) == 10

    def test_images_of_another_size(self, small_mnist, idx_bytes):
        (small_mnist / GZ).write_bytes(gzip.compress(idx_bytes(np.zeros((7, 8, 8)))))
        with pytest.raises(DataError, match=r"train-images.*\(N, 28, 28\).*\(7, 8, 8\)"):
            mnist(small_mnist)

    def test_one_label_too_few(self, small_mnist, idx_bytes):
        path = small_mnist / "t10k-labels-idx1-ubyte.gz"
        path.write_bytes(gzip.compress(idx_bytes([1, 2])))
        with pytest.raises(DataError, match=r"t10k-labels.*uint8 \(3,\).*\(2,\)"):
            mnist(small_mnist)

    def test_label_out_of_range(self, small_mnist, idx_bytes):
        path = small_mnist / "t10k-labels-idx1-ubyte.gz"
        path.write_bytes(gzip.compress(idx_bytes([1, 10, 2])))
        with pytest.raises(DataError, match=r"t10k-labels.*0 … 9.*10 at position 1"):
            mnist(small_mnist)


class TestReadIdx:
    @pytest.mark.parametrize(
        ("code", "dtype"),
        [(8, "u1"), (9, "i1"), (11, "i2"), (12, "i4"), (13, "f4"), (14, "f8")],
    )
    def test_types_come_in_native_byte_order(self, tmp_path, code, dtype):
        expected = np.array([[1, 2, 3], [4, 5, 100]], dtype)
        path = tmp_path / "array.idx"
        big_endian = expected.astype(np.dtype(dtype).newbyteorder(">")).tobytes()
        path.write_bytes(struct.pack(">BBBBII", 0, 0, code, 2, 2, 3) + big_endian)
        array = read_idx(path)
        assert array.dtype == expected.dtype
        assert array.dtype.isnative
        np.testing.assert_array_equal(array, expected)
        array[0] = 0  # writable

    def test_packing_is_seen_in_the_content_not_the_name(self, tmp_path):
        path = tmp_path / "array.idx"
        path.write_bytes(gzip.compress(THREE))
        np.testing.assert_array_equal(read_idx(path), [1, 2, 3])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "empty file"),
            (b"\0\0\x08", "must be an IDX file.*00 00 08"),
            (b"\x89PNG\r\n\x1a\n", "must be an IDX file.*89 50 4e 47"),
            (b"\0\0\x08\0", "must be an IDX file"),
            (b"\0\0\x07\x01\0\0\0\0", "must be an IDX file"),
            (b"\0\0\x08\x03\0\0\0\x01", "header of 16 bytes.*8 in all"),
            (THREE[:-1], r"11 bytes for uint8 \(3,\).*Received: a file of 10"),
            (THREE + b"!", r"11 bytes for uint8 \(3,\).*Received: a file of 12"),
            (b"\0\0\x08\x02" + b"\xff" * 8, "must be an IDX file of 18446744065119617037 bytes"),
        ],
    )
    def test_damaged(self, tmp_path, content, message):
        path = tmp_path / "damaged.idx"
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            read_idx(path)
        assert str(path) in str(caught.value)

    @pytest.mark.parametrize("damage", ["cut", "flipped", "header only"])
    def test_damaged_gzip(self, tmp_path, damage, idx_bytes):
        packed = bytearray(gzip.compress(idx_bytes(np.arange(200))))
        if damage == "cut":
            packed = packed[: len(packed) // 2]
        elif damage == "flipped":
            packed[len(packed) // 2] ^= 0xFF
        else:
            packed = packed[:2]
        path = tmp_path / "damaged.gz"
        path.write_bytes(packed)
        with pytest.raises(DataError, match=r"damaged\.gz must be .*It may be damaged"):
            read_idx(path)

    def test_absent(self, tmp_path):
        with pytest.raises(DataError, match=r"nowhere\.idx"):
            read_idx(tmp_path / "nowhere.idx")

    @pytest.mark.parametrize("claim", [3, 10_000_000, 104_000_000, 2**32 - 1])
    def test_a_small_file_that_unpacks_to_gigabytes(self, tmp_path, claim, peak_memory):
        packer = zlib.compressobj(9, zlib.DEFLATED, 31)
        packed = packer.compress(struct.pack(">BBBBI", 0, 0, 8, 1, claim))
        for _ in range(100):
            packed += packer.compress(bytes(1 << 20))
        path = tmp_path / "small.gz"
        path.write_bytes(packed + packer.flush())
        assert path.stat().st_size < 200_000
        with peak_memory(limit=50 << 20), pytest.raises(DataError, match=r"small\.gz"):
            read_idx(path)

    def test_large_files_are_counted_before_they_are_kept(self, tmp_path, monkeypatch):
        monkeypatch.setattr("nnlib.reading._UNCOUNTED", 10)
        path = tmp_path / "large.gz"
        content = struct.pack(">BBBBI", 0, 0, 8, 1, 100) + bytes(range(100))
        path.write_bytes(gzip.compress(content[:50]) + gzip.compress(content[50:]))
        np.testing.assert_array_equal(read_idx(path), np.arange(100))
        for wrong in (content[:-1], content + b"!"):
            path.write_bytes(gzip.compress(wrong))
            with pytest.raises(DataError, match="unpacked bytes"):
                read_idx(path)
