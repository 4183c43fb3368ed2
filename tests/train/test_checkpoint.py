import numpy as np
import pytest

import nnlib
from nnlib.errors import DTypeError, FileFormatError, InputNotFoundError
from nnlib.train.checkpoint import copied, load_state, save_state, size_in_bytes


def state():
    return {
        "w": nnlib.tensor([1.0, 2.0]),
        "nested": {0: {"step": 3, "m": nnlib.tensor([4.0], dtype="float64")}, "b": (0.9, 0.999)},
        "list": [None, True, "naïve", 0.1, [nnlib.tensor(5)]],
        "empty": {},
    }


def plain(value):
    if isinstance(value, nnlib.Tensor):
        return (value.dtype.name, value.shape, value.tolist())
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return type(value)(map(plain, value)) if isinstance(value, list | tuple) else value


def test_round_trip(tmp_path):
    path = tmp_path / "new" / "state.safetensors"
    save_state(state(), path)
    assert plain(load_state(path)) == plain(state())
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]


def test_other_kinds_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DTypeError, match="ndarray at 'a/x'"):
        save_state({"a": {"x": np.ones(2)}}, tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_other_files_are_refused(tmp_path):
    nnlib.io.save({"w": nnlib.ones(2)}, tmp_path / "weights")
    with pytest.raises(FileFormatError, match="a checkpoint of Trainer"):
        load_state(tmp_path / "weights")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FileFormatError):
        load_state(tmp_path / "text")
    with pytest.raises(InputNotFoundError):
        load_state(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["{", "[]", '{"tensor": "absent"}', '{"dict": [["a"]]}'])
def test_damaged_metadata(tmp_path, text):
    metadata = {"format": "nnlib-checkpoint", "version": "1", "state": text}
    nnlib.io.save({"w": nnlib.ones(2)}, tmp_path / "file", metadata=metadata)
    with pytest.raises(FileFormatError, match="damaged"):
        load_state(tmp_path / "file")


def test_copies_are_independent(backend):
    w = nnlib.ones(3)
    copy = copied({"w": w, "n": [1, w]})
    w[...] = 0
    assert copy["w"].backend is backend
    assert copy["w"].tolist() == copy["n"][1].tolist() == [1, 1, 1]
    assert size_in_bytes(copy) == 24
