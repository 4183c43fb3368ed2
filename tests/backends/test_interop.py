"""Arrays of libraries that are no backend."""

import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError
from nnlib_backends import BackendMismatchError, load_backend
from nnlib_backends.interop import from_library, is_foreign, on_host


class Tracked:
    """Like PyTorch's: part of a graph, on another device, in a format that NumPy lacks."""

    def __init__(self, values, steps=("detach", "cpu", "float")):
        self.values, self.steps = values, steps

    def _after(self, step):
        return Tracked(self.values, tuple(s for s in self.steps if s != step))

    def detach(self):
        return self._after("detach")

    def cpu(self):
        assert "detach" not in self.steps
        return self._after("cpu")

    def float(self):
        return self._after("float")

    def __array__(self, dtype=None, copy=None):
        if self.steps:
            raise TypeError(f"first: {self.steps}")
        return self.values


class Exchanged:
    """Knows nothing but DLPack."""

    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **options):
        return self.values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


@pytest.mark.parametrize("kind", [Tracked, Exchanged])
def test_they_become_numpy_arrays(kind):
    values = np.arange(3.0)
    assert is_foreign(kind(values))
    assert np.shares_memory(from_library(kind(values)), values)
    array = load_backend("numpy").asarray(kind(values), dtype="float32")
    assert (array.dtype, array.tolist()) == (np.float32, [0.0, 1.0, 2.0])


@pytest.mark.parametrize("value", [[1.0], 3, None, "x", np.ones(2), np.float32(1), np.ndarray])
def test_what_is_no_such_array_stays(value):
    assert not is_foreign(value)
    assert from_library(value) is value


def test_what_cannot_be_converted():
    stuck = Tracked(np.ones(2), steps=("sparse",))
    with pytest.raises(BackendMismatchError, match="Tracked could not be converted"):
        on_host(stuck)
    with pytest.raises(BackendMismatchError, match="Tracked could not be converted"):
        nnlib.zeros(2).copy_(stuck)


def test_our_own_tensors_are_not_foreign():
    tensor = nnlib.ones(2)
    assert from_library(tensor) is tensor


def test_transforms_and_windows_get_what_they_work_with():
    from nnlib.data import TextWindows, transforms

    kind = Tracked
    rows = transforms.apply(transforms.normalize(0, 2), kind(np.ones((2, 2))), None)
    assert rows.tolist() == [[0.5, 0.5]] * 2
    assert len(TextWindows(kind(np.arange(9)), 4)) == 5


def test_taking_over_through_dlpack():
    values = np.arange(3.0)
    assert np.shares_memory(nnlib.from_dlpack(Exchanged(values)).data, values)
    with pytest.raises(DTypeError, match="an object with __dlpack__"):
        nnlib.from_dlpack([1.0])


@pytest.mark.peers
def test_dlpack_of_torch():
    torch = pytest.importorskip("torch")
    x = torch.ones(2)
    assert np.shares_memory(nnlib.from_dlpack(x).data, x.numpy())
    with pytest.raises(DTypeError, match="which copies"):
        nnlib.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(DTypeError, match="which copies"):
        nnlib.from_dlpack(torch.ones(2, dtype=torch.bfloat16))


@pytest.mark.peers
@pytest.mark.parametrize(
    "dtype", ["bfloat16", "float8_e4m3fn", "float16", "float64", "int32", "bool"]
)
def test_torch(dtype):
    torch = pytest.importorskip("torch")
    values = torch.tensor([0.0, 1.0, -2.0]).to(getattr(torch, dtype))
    tensor = nnlib.tensor(values)
    assert tensor.dtype.name == (dtype if hasattr(np, dtype) else "float32")
    assert tensor.tolist() == values.tolist()
    if values.is_floating_point():
        assert nnlib.tensor(values.requires_grad_().reshape(-1)).tolist() == values.tolist()


@pytest.mark.peers
def test_torch_in_a_compiled_function_and_in_training():
    torch = pytest.importorskip("torch")
    double = nnlib.compile(lambda x: x * 2)
    assert [double(torch.full((2,), float(i))).tolist()[0] for i in range(4)] == [0, 2, 4, 6]
    model = nnlib.nn.Linear(3, 2)
    sgd = nnlib.optim.SGD(model.parameters(), lr=0.1)
    trainer = nnlib.Trainer(model, "mse", sgd, progress=False)
    x, y = torch.ones(8, 3), torch.zeros(8, 2)
    pairs = torch.utils.data.TensorDataset(x, y)
    for batches in ((x, y), torch.utils.data.DataLoader(pairs, 4), [(x.bfloat16(), y)]):
        trainer.fit(batches, epochs=1)
    assert trainer.predict(x).shape == (8, 2)
    metric = nnlib.train.Accuracy()
    metric.update(torch.eye(3), torch.tensor([0, 1, 0]))
    assert metric.compute() == pytest.approx(2 / 3)
