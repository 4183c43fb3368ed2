import json
import math

import numpy as np
import pytest
import safetensors.numpy
from strict_backend import StrictArray

import nnlib
from nnlib import nn
from nnlib.errors import DTypeError, InputError, OutputError, StateError
from nnlib.io import load, load_into, save

DTYPES = ["bool", "float16", "float32", "float64"] + [
    f"{kind}int{bits}" for kind in ("", "u") for bits in (8, 16, 32, 64)
]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def make_model(seed=0):
    nnlib.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def values(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def assert_same(these, those):
    assert list(these) == list(those)
    for name in these:
        np.testing.assert_array_equal(these[name], those[name])


class TestRoundTrip:
    @pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (1,), (2, 3, 4)])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_dtypes_and_shapes(self, path, dtype, shape, backend):
        size = math.prod(shape)
        array = (np.arange(size) % 2 if dtype == "bool" else np.arange(size)).astype(dtype)
        array = array.reshape(shape)
        save({"x": nnlib.tensor(array, backend=backend)}, path)
        loaded = load(path)["x"]
        assert loaded.backend is backend
        assert (loaded.dtype, loaded.shape) == (dtype, shape)
        np.testing.assert_array_equal(loaded.numpy(), array)

    @pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
    def test_every_bit(self, path, dtype):
        array = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 6e-8, 65504, 1 / 3], dtype)
        save({"x": array}, path)
        assert load(path)["x"].data.tobytes() == array.tobytes()

    def test_bfloat16_comes_back_as_float32_with_every_value(self, path, backend):
        bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
        all_of_them = np.arange(1 << 16, dtype="uint16").view(bfloat16).reshape(256, 256)
        strided = all_of_them.T[::2]
        tensor = nnlib.tensor(all_of_them, backend=backend)
        save({"all": tensor, "strided": strided, "one": strided[3, 3], "none": strided[:0]}, path)
        loaded = load(path)
        np.testing.assert_array_equal(loaded["all"].numpy(), all_of_them.astype("float32"))
        np.testing.assert_array_equal(loaded["strided"].numpy(), strided.astype("float32"))
        assert loaded["one"].tolist() == float(strided[3, 3])
        assert loaded["none"].shape == (0, 256)

    def test_a_model_in_bfloat16(self, path, backend):
        bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
        model, other = make_model(0).astype(bfloat16), make_model(1).astype(bfloat16)
        save(model, path)
        load_into(other, path)
        assert_same(values(other), values(model))
        assert other[0].weight.dtype == bfloat16

    def test_arrays_of_another_library(self, path):
        class Foreign:
            def __array__(self, dtype=None, copy=None):
                return np.arange(3)

        save({"x": Foreign()}, path)
        assert load(path)["x"].tolist() == [0, 1, 2]

    @pytest.mark.peers
    def test_torch_reads_our_bfloat16_and_we_save_its_tensors(self, path):
        torch = pytest.importorskip("torch")
        library = pytest.importorskip("safetensors.torch")
        ml_dtypes = pytest.importorskip("ml_dtypes")
        save({"x": np.array([1.5, -2.0], ml_dtypes.bfloat16)}, path)
        theirs = library.load_file(path)
        assert theirs["x"].dtype == torch.bfloat16
        assert theirs["x"].tolist() == [1.5, -2.0]
        save({"x": theirs["x"].float().requires_grad_()}, path)
        assert load(path)["x"].tolist() == [1.5, -2.0]

    def test_a_model(self, path, backend):
        model, other = make_model(0), make_model(1)
        save(model, path)
        other.load_state_dict(load(path))
        assert_same(values(other), values(model))

    def test_from_one_backend_to_the_other(self, path):
        model = make_model().to("strict")
        save(model, str(path))
        loaded = load(str(path), backend="numpy")
        assert {value.backend.name for value in loaded.values()} == {"numpy"}
        assert_same({k: loaded[k].numpy() for k in values(model)}, values(model))
        assert isinstance(load(path, "strict")["0.weight"].data, StrictArray)

    def test_loaded_tensors_own_their_memory(self, path):
        save({"x": nnlib.ones(2), "y": nnlib.ones(2)}, path)
        loaded = load(path)
        path.unlink()
        loaded["x"][...] = 5
        assert loaded["x"].tolist() == [5, 5]
        assert loaded["y"].tolist() == [1, 1]
        assert not loaded["x"].requires_grad

    def test_memory_layouts_and_byte_order(self, path):
        array = np.arange(12, dtype=np.float32).reshape(3, 4)
        layouts = {
            "c": array,
            "f": np.asfortranarray(array),
            "t": array.T,
            "strided": array[::2, ::-1],
            "big-endian": array.astype(">f4"),
            "scalar": np.float32(3),
            "bare device array": nnlib.tensor(array, backend="strict").data,
        }
        save(layouts, path)
        for name, loaded in load(path).items():
            assert loaded.dtype == np.dtype("float32")
            expected = array if name == "bare device array" else np.asarray(layouts[name])
            np.testing.assert_array_equal(loaded.numpy(), expected)

    def test_shared_parameters_are_stored_once(self, path):
        class Tied(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Linear(3, 3, bias=False)
                self.head = nn.Linear(3, 3, bias=False)
                self.head.weight = self.embed.weight

        model, other = Tied(), Tied()
        save(model, path)
        assert list(load(path)) == ["embed.weight"]
        load_into(other, path)
        assert other.head.weight is other.embed.weight
        assert_same(values(other), values(model))

    def test_one_tensor_under_two_names(self, path):
        x = nnlib.ones(2)
        save({"a": x, "b": x}, path)
        assert {name: value.tolist() for name, value in load(path).items()} == {
            "a": [1, 1],
            "b": [1, 1],
        }

    def test_nothing(self, path):
        save({}, path)
        assert load(path) == {}

    def test_names_and_metadata_are_any_text(self, path):
        metadata = {"größe": "1 × 2", "json": json.dumps({"a": ["b"]}), "": ""}
        save(
            {"gewicht.ß": nnlib.ones(1), "": nnlib.zeros(1), 'a"b\\c\n': nnlib.ones(1)},
            path,
            metadata,
        )
        tensors, notes = load(path, with_metadata=True)
        assert set(tensors) == {"gewicht.ß", "", 'a"b\\c\n'}
        assert notes == metadata

    def test_no_metadata(self, path):
        save({"x": nnlib.ones(1)}, path)
        assert load(path, with_metadata=True)[1] == {}


class TestInterchange:
    def test_the_library_reads_what_is_saved(self, path, backend):
        model = make_model()
        save(model, path, {"epoch": "3"})
        theirs = safetensors.numpy.load_file(path)
        assert_same({name: theirs[name] for name in values(model)}, values(model))
        with safetensors.safe_open(path, "np") as file:
            assert file.metadata() == {"epoch": "3"}

    def test_what_the_library_wrote_is_read(self, path):
        arrays = {dtype: np.ones((2, 3), dtype) for dtype in DTYPES}
        safetensors.numpy.save_file(arrays, path)
        assert_same({dtype: load(path)[dtype].numpy() for dtype in DTYPES}, arrays)

    def test_values_are_aligned_in_memory(self, path):
        save({"a": np.ones(3, np.int8), "b": np.ones(1), "c": np.ones(1, np.float16)}, path)
        raw = path.read_bytes()
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        assert length % 8 == 0
        assert [header[name]["data_offsets"][0] for name in "bca"] == [0, 8, 10]

    @pytest.mark.peers
    def test_pytorch_reads_and_writes_them(self, path):
        torch = pytest.importorskip("torch")
        library = pytest.importorskip("safetensors.torch")
        model = make_model()
        save(model, path)
        theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
        library.load_model(theirs, path)
        x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
        expected = theirs(torch.tensor(x)).detach().numpy()
        np.testing.assert_allclose(model(nnlib.tensor(x)).numpy(), expected, rtol=1e-5)
        with torch.no_grad():
            theirs[0].weight += 1
        library.save_model(theirs, path)
        load_into(model, path)
        np.testing.assert_array_equal(model[0].weight.numpy(), theirs[0].weight.detach().numpy())

    @pytest.mark.peers
    def test_bfloat16_becomes_float32_exactly(self, path):
        torch = pytest.importorskip("torch")
        library = pytest.importorskip("safetensors.torch")
        special = [0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1e-40, 3e38]
        values = torch.tensor([*special, *torch.randn(100).tolist()]).to(torch.bfloat16)
        library.save_file({"x": values, "scalar": values[2].clone()}, path)
        loaded = load(path)
        assert loaded["x"].dtype == np.float32
        np.testing.assert_array_equal(loaded["x"].numpy(), values.float().numpy())
        assert loaded["scalar"].item() == 1.0


class TestLoadInto:
    def test_any_backend(self, path, backend):
        model, other = make_model(0), make_model(1)
        save(model, path)
        load_into(other, path)
        assert_same(values(other), values(model))
        assert other[0].weight.backend is backend

    def test_another_precision_is_converted(self, path):
        model, other = make_model(0), make_model(1)
        save({name: value.astype("float64") for name, value in values(model).items()}, path)
        load_into(other, path)
        assert_same(values(other), values(model))
        assert other[0].weight.dtype == np.float32

    @pytest.mark.parametrize(
        ("spoil", "match"),
        [
            (lambda s: s.pop("0.bias"), "missing: 0.bias"),
            (lambda s: s.update(extra=np.ones(1)), "unexpected: extra"),
            (lambda s: s.update({"2.bias": np.ones(3)}), r"2\.bias must .*shape \(2,\)"),
            (
                lambda s: s.update({"2.bias": np.ones(2, int)}),
                r"2\.bias must be floating-point numbers of shape \(2,\), received int64 \(2,\)",
            ),
            (lambda s: s.update({"2.bias": np.ones(2, bool)}), "must be floating-point"),
        ],
    )
    def test_what_does_not_fit_changes_nothing(self, path, spoil, match, backend):
        model = make_model()
        state = values(make_model(1))
        spoil(state)
        save(state, path)
        before = values(model)
        with pytest.raises(StateError, match=match) as caught:
            load_into(model, path)
        assert str(path) in str(caught.value)
        assert_same(values(model), before)

    def test_not_strict(self, path):
        model = make_model()
        save({"0.bias": np.full(4, 7.0), "extra": np.ones(1)}, path)
        load_into(model, path, strict=False)
        assert model[0].bias.tolist() == [7.0] * 4


class TestSaveRefuses:
    @pytest.mark.parametrize(
        ("state", "match"),
        [
            (3, "a module or a mapping of names to tensors.*Received: int"),
            ([nnlib.ones(1)], "Received: list"),
            ({1: nnlib.ones(1)}, "a name must be a text.*Received: 1"),
            ({"__metadata__": nnlib.ones(1)}, "other than '__metadata__'"),
            ({"x": 3.0}, "x must be a tensor or array of bool, int8.*Received: float"),
            ({"x": {"y": nnlib.ones(1)}}, "x must be a tensor or array.*Received: dict"),
            ({"x": np.ones(1, complex)}, r"Received: complex128 \(1,\)"),
            ({"x": np.array(["a"])}, "Received: <U1"),
            ({"x": np.array([None])}, "Received: object"),
            ({"\ud800": np.ones(1)}, "must be valid Unicode"),
        ],
    )
    def test_states(self, path, state, match):
        path.write_bytes(b"old")
        with pytest.raises(DTypeError, match=match):
            save(state, path)
        assert path.read_bytes() == b"old"
        assert list(path.parent.iterdir()) == [path]

    def test_metadata_that_is_not_text(self, path):
        with pytest.raises(DTypeError, match=r"must be texts\. Received: {'epoch': 3}"):
            save({}, path, metadata={"epoch": 3})

    def test_a_device_that_fails_half_way_leaves_the_old_file(self, path, monkeypatch):
        save({"x": nnlib.zeros(3)}, path)
        before = path.read_bytes()
        backend = nnlib.use_backend("strict")
        with backend as strict:
            tensors = {"a": nnlib.ones(3), "b": nnlib.ones(3)}
            calls = []

            def fail(array):
                calls.append(array)
                if len(calls) == 2:
                    raise RuntimeError("the device is gone")
                return array.get()

            monkeypatch.setattr(strict, "to_numpy", fail)
            with pytest.raises(RuntimeError, match="the device is gone"):
                save(tensors, path)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]

    def test_a_folder_that_does_not_exist(self, tmp_path):
        with pytest.raises(OutputError, match="Make the folder first"):
            save({"x": nnlib.ones(1)}, tmp_path / "nowhere" / "x.safetensors")

    def test_a_missing_file_to_load(self, path):
        with pytest.raises(InputError, match=r"weights\.safetensors must be an existing") as caught:
            load(path)
        assert isinstance(caught.value, FileNotFoundError)
