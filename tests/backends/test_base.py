import time

import pytest

from nnlib_backends import Backend, MemoryInfo, Timer, load_backend


def test_a_backend_without_its_methods_cannot_be_made():
    with pytest.raises(TypeError, match="asarray"):
        type("Incomplete", (Backend,), {})()


def test_defaults_suit_a_synchronous_backend(backend):
    assert isinstance(backend.timer(), Timer)
    backend.synchronize()
    backend.release_memory()
    backend.reset_peak_memory()
    assert isinstance(backend.memory_info(), MemoryInfo)
    assert repr(backend) == f"<nnlib backend {backend.name!r}>"


def test_timer_measures_seconds():
    timer = Timer()
    timer.start()
    time.sleep(0.02)
    timer.stop()
    time.sleep(0.02)
    assert 0.02 <= timer.seconds() < 0.039


def test_every_backend_has_what_numpy_lacks(backend):
    xp = backend.xp
    x = backend.asarray([0.0, 0.5, -2.0], dtype="float32")
    expected = [0.0, 0.5204998778, -0.9953222650]
    assert backend.to_numpy(xp.erf(x)).tolist() == pytest.approx(expected, abs=1e-6)
    windows = xp.sliding_window_view(xp.arange(12).reshape(3, 4), (2, 2), axis=(0, 1))
    assert windows.shape == (2, 3, 2, 2)
    assert backend.to_numpy(windows[1, 2]).tolist() == [[6, 7], [10, 11]]


def test_arrays_go_there_and_come_back(backend):
    array = backend.asarray([[1, 2], [3, 4]], dtype="float32")
    assert backend.owns(array)
    assert isinstance(array, backend.array_type)
    host = backend.to_numpy(array)
    host[...] = 0  # a copy
    assert backend.to_numpy(array).tolist() == [[1, 2], [3, 4]]


def test_asarray_takes_arrays_of_other_backends(backend):
    for name in ("numpy", "strict"):
        other = load_backend(name).asarray([1.5, 2.5])
        array = backend.asarray(other, dtype="float32")
        assert backend.owns(array)
        assert array.dtype == "float32"
        assert backend.to_numpy(array).tolist() == [1.5, 2.5]


def test_asarray_without_a_copy_is_the_array_itself(backend):
    array = backend.asarray([1.0, 2.0])
    assert backend.asarray(array) is array
    assert backend.asarray(array, copy=False) is array
    copied = backend.asarray(array, copy=True)
    copied[0] = 5.0
    assert backend.to_numpy(array).tolist() == [1, 2]
    with pytest.raises(ValueError, match="copy"):
        backend.asarray(array, dtype="float32", copy=False)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_inside_tells_about_the_values_as_they_are_now(dtype, backend):
    array = backend.asarray([0, 3, 9], dtype=dtype)
    inside = backend.inside(array, 0, 9)
    assert inside()
    assert not backend.inside(array, 0, 8)()
    assert not backend.inside(array, 1, 9)()
    array[1] = 10
    assert not inside()
    array[1] = 9
    assert inside()
    if dtype != "uint8":
        array[2] = -1
        assert not inside()
