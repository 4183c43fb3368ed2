"""Damaged files: a FileFormatError that names the file, and a model that is as it was."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

import nnlib
from nnlib import nn
from nnlib.errors import FileFormatError, InputError, StateError
from nnlib.io import load, load_into, save


def file_of(header, data=b"", length=None):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return (len(header) if length is None else length).to_bytes(8, "little") + header + data


def entry(shape, begin, end, dtype="F32", **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
TWICE += b'"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}'

DAMAGED = {
    "nothing": b"",
    "a few bytes": b"\0" * 7,
    "another kind": b"\x89PNG\r\n\x1a\n" + b"\0" * 100,
    "a zip, as PyTorch's own files": b"PK\x03\x04" + b"\0" * 100,
    "text": b"hello, this is not a safetensors file",
    "no header": (0).to_bytes(8, "little"),
    "header longer than the file": file_of(b"{}", length=100),
    "header of astronomic length": file_of(b"{}", length=2**63),
    "no JSON": file_of(b"{'a': 1}  "),
    "no UTF-8": file_of(b'{"\xff":1}'),
    "no object": file_of([1, 2]),
    "half an object": file_of(b'{"a":'),
    "truncated": file_of({"a": entry([2], 0, 8)}, b"\0" * 7),
    "oversized": file_of({"a": entry([2], 0, 8)}, b"\0" * 9),
    "overlapping": file_of({"a": entry([2], 0, 8), "b": entry([2], 4, 12)}, b"\0" * 12),
    "one place for two": file_of({"a": entry([2], 0, 8), "b": entry([2], 0, 8)}, b"\0" * 8),
    "a gap": file_of({"a": entry([2], 0, 8), "b": entry([2], 12, 20)}, b"\0" * 20),
    "not from the start": file_of({"a": entry([2], 4, 12)}, b"\0" * 12),
    "shape and size differ": file_of({"a": entry([3], 0, 8)}, b"\0" * 8),
    "dtype and size differ": file_of({"a": entry([2], 0, 8, "F64")}, b"\0" * 8),
    "backwards": file_of({"a": entry([2], 8, 0)}, b"\0" * 8),
    "unknown dtype": file_of({"a": entry([2], 0, 8, "F99")}, b"\0" * 8),
    "dtype that NumPy lacks": file_of({"a": entry([4], 0, 4, "F8_E4M3")}, b"\0" * 4),
    "complex": file_of({"a": entry([1], 0, 8, "C64")}, b"\0" * 8),
    "dtype that is no text": file_of({"a": entry([2], 0, 8, 32)}, b"\0" * 8),
    "no dtype": file_of({"a": {"shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8),
    "negative size": file_of({"a": entry([-2], 0, 8)}, b"\0" * 8),
    "fractional size": file_of({"a": entry([2.0], 0, 8)}, b"\0" * 8),
    "size beyond 64 bits": file_of({"a": entry([2**63, 4], 0, 8)}, b"\0" * 8),
    "too many axes": file_of({"a": entry([1] * 100, 0, 4)}, b"\0" * 4),
    "an empty tensor larger than NumPy can say": file_of({"a": entry([0, 2**62, 8], 0, 0)}),
    "three offsets": file_of({"a": {**entry([2], 0, 8), "data_offsets": [0, 8, 8]}}, b"\0" * 8),
    "an array for an entry": file_of({"a": ["F32", [1], [0, 4]]}, b"\0" * 4),
    "a number for an entry": file_of({"a": 3}),
    "a name twice": file_of(TWICE, b"\0" * 4),
    "metadata that are no texts": file_of({"__metadata__": {"epoch": 3}}),
    "booleans that are neither": file_of({"a": entry([3], 0, 3, "BOOL")}, b"\0\1\2"),
}


def make_model():
    nnlib.manual_seed(0)
    return nn.Linear(2, 3)


def raw_values(model):
    return [value.numpy().tobytes() for value in model.state_dict().values()]


@pytest.mark.parametrize("kind", DAMAGED)
def test_damaged(kind, tmp_path, backend):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(DAMAGED[kind])
    model = make_model()
    before = raw_values(model)
    for read in (lambda: load(path), lambda: load_into(model, path)):
        with pytest.raises(FileFormatError) as caught:
            read()
        assert str(path) in str(caught.value)
        assert isinstance(caught.value, ValueError)
    assert raw_values(model) == before


def test_the_text_says_what_is_wrong(tmp_path):
    path = tmp_path / "x.safetensors"
    for kind, words in {
        "truncated": r"not fully covered \(it has .* bytes\)\. It may be damaged, truncated",
        "overlapping": "invalid offset for tensor `b`",
        "dtype that NumPy lacks": "a has the dtype F8_E4M3; nnlib reads BOOL, ",
        "a name twice": "a name occurs twice in the header",
        "booleans that are neither": "a must be of booleans",
    }.items():
        path.write_bytes(DAMAGED[kind])
        with pytest.raises(FileFormatError, match=words):
            load(path)


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="cannot be read: it is a folder"):
        load(tmp_path)


def test_the_file_that_changes_while_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    save({"x": np.ones(100)}, path)
    monkeypatch.setattr("nnlib.io.safetensors._check", lambda _: None)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match="it ends within x"):
        load(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A sound file of a model of whose state every dtype differs, as bytes."""
    path = tmp_path_factory.mktemp("whole") / "x.safetensors"
    model = make_model()
    state = {
        "weight": model.weight.numpy(),
        "bias": model.bias.numpy(),
        "flag": np.array([True, False]),
        "count": np.array(3),
        "half": np.ones((2, 0), np.float16),
    }
    save(state, path, metadata={"epoch": "3"})
    return path.read_bytes()


@st.composite
def damages(draw, raw):
    """The bytes with some flipped, cut out, inserted or cut off."""
    data = bytearray(raw)
    for _ in range(draw(st.integers(1, 3))):
        # the header is the interesting part
        limit = draw(st.sampled_from([8, 200, len(data)]))
        place = draw(st.integers(0, max(0, min(limit, len(data)) - 1)))
        what = draw(st.sampled_from(["flip", "set", "cut", "insert", "end"]))
        if what == "flip" and data:
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "set" and data:
            data[place] = draw(st.sampled_from(b'09-.,:"[]{}\\ eA\0\xff'))
        elif what == "cut":
            del data[place : place + draw(st.integers(1, 9))]
        elif what == "insert":
            data[place:place] = draw(st.binary(min_size=1, max_size=9))
        else:
            del data[place:]
    return bytes(data)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_damage_is_noticed_or_harmless(whole, tmp_path_factory, data):
    damaged = data.draw(damages(whole))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(damaged)
    try:
        loaded = load(path)
    except FileFormatError:
        loaded = None
    if loaded is not None:  # then the library reads the same from it
        theirs = safetensors.numpy.load_file(path)
        assert set(loaded) == set(theirs)
        for name, value in loaded.items():
            assert (value.shape, value.dtype) == (theirs[name].shape, theirs[name].dtype)
            assert value.data.tobytes() == theirs[name].tobytes()
    model = make_model()
    with nnlib.no_grad():
        model.bias.fill_(7)
    before = raw_values(model)
    try:
        load_into(model, path, strict=False)
    except (FileFormatError, StateError):
        assert raw_values(model) == before
    else:
        assert loaded is not None
        for name in set(loaded) & {"weight", "bias"}:
            np.testing.assert_array_equal(model.state_dict()[name].numpy(), loaded[name].numpy())
