import numpy as np
import pytest
import strict_backend

from nnlib.data import transforms
from nnlib.errors import LabelError, OptionError, ShapeError
from nnlib.random import Generator


@pytest.fixture
def images():
    return np.random.default_rng(0).random((50, 6, 5, 3), dtype=np.float32)


class TestNormalize:
    def test_scalars(self, images):
        result = transforms.normalize(0.5, 0.25)(images)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, (images - 0.5) / 0.25, rtol=1e-6)

    def test_a_value_a_channel(self, images):
        mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]
        result = transforms.normalize(mean, std)(images)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, (images - mean) / std, rtol=1e-5, atol=1e-7)

    def test_bytes(self):
        result = transforms.normalize(0, 255)(np.array([[0, 255]], np.uint8))
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, [[0, 1]])

    def test_leaves_its_input_alone(self, images):
        before = images.copy()
        transforms.normalize(0.5, 0.5)(images)
        np.testing.assert_array_equal(images, before)

    @pytest.mark.parametrize(("mean", "std"), [(0, 0), (0, [1, -1]), (np.nan, 1), (0, np.inf)])
    def test_unusable(self, mean, std):
        with pytest.raises(OptionError, match="std positive"):
            transforms.normalize(mean, std)


class TestOneHot:
    def test_rows(self):
        labels = np.array([3, 0, 1])
        result = transforms.one_hot(4)(labels)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, np.eye(4)[labels])

    def test_empty_batch(self):
        assert transforms.one_hot(4)(np.array([], np.int64)).shape == (0, 4)

    @pytest.mark.parametrize("labels", [[-1, 0], [0, 4]])
    def test_out_of_range(self, labels):
        with pytest.raises(LabelError, match="0 … 3"):
            transforms.one_hot(4)(np.array(labels))

    @pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((3, 1), int)])
    def test_not_labels(self, labels):
        with pytest.raises(LabelError, match=r"integers, \(B,\)"):
            transforms.one_hot(4)(labels)

    def test_no_class(self):
        with pytest.raises(OptionError):
            transforms.one_hot(0)


class TestPadCrop:
    def test_each_result_is_a_window_of_the_padded_image(self, images):
        pad = 2
        result = transforms.pad_crop(pad)(images, Generator(1))
        assert result.shape == images.shape
        assert result.dtype == images.dtype
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        corners = set()
        for image, border in zip(result, padded, strict=True):
            found = [
                (top, left)
                for top in range(2 * pad + 1)
                for left in range(2 * pad + 1)
                if np.array_equal(image, border[top : top + 6, left : left + 5])
            ]
            assert len(found) == 1
            corners.update(found)
        assert {top for top, _ in corners} == {left for _, left in corners} == set(range(5))
        assert len(corners) > 15  # rows and columns are drawn apart

    def test_no_padding_changes_nothing(self, images):
        np.testing.assert_array_equal(transforms.pad_crop(0)(images), images)

    def test_not_images(self):
        with pytest.raises(ShapeError, match=r"\(B, H, W, C\).*\(4, 9\)"):
            transforms.pad_crop(1)(np.zeros((4, 9)))

    def test_negative(self):
        with pytest.raises(OptionError):
            transforms.pad_crop(-1)


class TestFlip:
    @pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
    def test_a_share_of_images_is_mirrored(self, p):
        images = np.random.default_rng(0).random((2000, 2, 3, 1))
        result = transforms.flip(p)(images, Generator(2))
        mirrored = (result == images[:, :, ::-1]).all(axis=(1, 2, 3))
        kept = (result == images).all(axis=(1, 2, 3))
        assert (mirrored ^ kept).all()
        assert mirrored.mean() == pytest.approx(p, abs=0.04)  # 4 standard deviations

    def test_not_images(self):
        with pytest.raises(ShapeError):
            transforms.flip()(np.zeros((4, 9)))

    @pytest.mark.parametrize("p", [-0.1, 1.1])
    def test_no_probability(self, p):
        with pytest.raises(OptionError):
            transforms.flip(p)


class TestCompose:
    def test_in_order(self, images):
        both = transforms.compose(transforms.normalize(0, 2), transforms.normalize(1, 1))
        np.testing.assert_allclose(both(images), images / 2 - 1, rtol=1e-6)

    def test_generator_reaches_random_parts(self, images):
        both = transforms.compose(transforms.pad_crop(2), transforms.flip(), transforms.flatten)
        first, again, other = (both(images, Generator(seed)) for seed in (1, 1, 2))
        assert first.shape == (50, 90)
        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_augmentation_on_the_device(backend, images):
    """Images are changed where they are, as on the host, and nothing is read back."""
    augment = transforms.compose(
        transforms.pad_crop(2), transforms.flip(), transforms.normalize([0.4] * 3, [0.2] * 3)
    )
    there = backend.asarray(images)
    if backend.name == "strict":
        with strict_backend.counting() as counts:
            result = augment(there, Generator(3))
        assert counts.reads == 0, counts.where
    else:
        result = augment(there, Generator(3))
    assert type(result) is type(there)
    np.testing.assert_allclose(
        backend.to_numpy(result), augment(images, Generator(3)), rtol=1e-5, atol=1e-6
    )


def test_flatten(images):
    np.testing.assert_array_equal(transforms.flatten(images), images.reshape(50, 90))
    assert transforms.flatten(images[:0]).shape == (0, 90)
