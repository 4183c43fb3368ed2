"""Which backend new arrays go to, and what a bare array's backend is."""

import asyncio
import copy
import os
import pickle
import subprocess
import sys
import threading
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

from nnlib_backends import (
    Backend,
    BackendMismatchError,
    BackendUnavailableError,
    UnknownBackendError,
    available_backends,
    backend_info,
    backend_of,
    get_backend,
    load_backend,
    register_backend,
    registered_backends,
    registry,
    set_backend,
    use_backend,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def registrations(monkeypatch):
    """Whatever a test registers is forgotten after it."""
    for table in ("_registrations", "_loaded", "_by_array_type"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))


def make_backend(name, array_class, device=0):
    """The least that a backend can be."""
    methods = dict.fromkeys(("asarray", "to_numpy", "device_info", "memory_info"), lambda *_: None)
    kind = type("TestBackend", (Backend,), {**methods, "array_type": array_class})
    backend = kind()
    backend.name, backend.xp = (f"{name}:{device}" if device else name), object()
    return backend


# The order of choice


def test_numpy_is_the_default():
    assert get_backend().name == "numpy"


def test_set_backend_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("NNLIB_BACKEND", "numpy")
    set_backend("strict")
    assert get_backend().name == "strict"


def test_use_backend_goes_before_set_backend():
    set_backend("numpy")
    with use_backend("strict"):
        assert get_backend().name == "strict"
        with use_backend("numpy"):
            assert get_backend().name == "numpy"
        assert get_backend().name == "strict"
    assert get_backend().name == "numpy"


def test_an_argument_goes_before_use_backend():
    import nnlib

    with use_backend("strict"):
        assert nnlib.zeros(2, backend="numpy").backend.name == "numpy"
        assert nnlib.zeros(2).backend.name == "strict"


def test_use_backend_ends_with_an_error():
    with pytest.raises(KeyError), use_backend("strict"):
        raise KeyError
    assert get_backend().name == "numpy"


def test_environment_is_read_at_the_first_array(monkeypatch):
    monkeypatch.setenv("NNLIB_BACKEND", "strict")
    assert get_backend().name == "strict"
    monkeypatch.setenv("NNLIB_BACKEND", "numpy")
    assert get_backend().name == "strict", "the choice stays once it is made"


def run_python(program, **environment):
    paths = os.pathsep.join(str(ROOT / folder) for folder in (".", "backends"))
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_environment_of_a_new_process_is_not_read_at_import():
    program = """
import os, nnlib_backends
os.environ["NNLIB_BACKEND"] = "numpy"
print(nnlib_backends.get_backend().name)
"""
    done = run_python(program, NNLIB_BACKEND="misspelt")
    assert done.stdout == "numpy\n", done.stderr


def test_misspelt_environment_names_the_variable_and_the_likely_name():
    done = run_python("import nnlib_backends; nnlib_backends.get_backend()", NNLIB_BACKEND="cuppy")
    last = done.stderr.splitlines()[-1]
    assert done.returncode != 0
    assert "NNLIB_BACKEND=cuppy" in last
    assert "Did you mean 'cupy'?" in last


def test_empty_environment_counts_as_none(monkeypatch):
    monkeypatch.setenv("NNLIB_BACKEND", "")
    assert get_backend().name == "numpy"


def test_use_backend_is_of_this_thread_only():
    seen = []
    with use_backend("strict"):
        thread = threading.Thread(target=lambda: seen.append(get_backend().name))
        thread.start()
        thread.join()
    assert seen == ["numpy"]


def test_set_backend_is_of_all_threads():
    seen = []
    set_backend("strict")
    thread = threading.Thread(target=lambda: seen.append(get_backend().name))
    thread.start()
    thread.join()
    assert seen == ["strict"]


def test_use_backend_is_of_this_task_only():
    async def inside(name, turn, done):
        with use_backend(name):
            turn.set()
            await done.wait()
            return get_backend().name

    async def both():
        turns, done = [asyncio.Event(), asyncio.Event()], asyncio.Event()
        tasks = [
            asyncio.create_task(inside(name, turn, done))
            for name, turn in zip(("strict", "numpy"), turns, strict=True)
        ]
        for turn in turns:
            await turn.wait()
        assert get_backend().name == "numpy"
        done.set()
        return [await task for task in tasks]

    assert asyncio.run(both()) == ["strict", "numpy"]


# Names


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("nunpy", "'numpy'"),
        ("cuda", "'cupy'"),
        ("tpu", None),
        ("cupy:x", "'cupy:N'"),
        ("Numpy", "'numpy'"),
        ("", None),
    ],
)
def test_unknown_name_is_an_error_with_a_guess(name, guess):
    with pytest.raises(UnknownBackendError) as caught:
        load_backend(name)
    assert f"Received: {name!r}" in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert ("Did you mean" in str(caught.value)) == (guess is not None)
    assert guess is None or guess in str(caught.value)


def test_a_backend_is_made_once():
    assert load_backend("numpy") is load_backend("numpy") is load_backend("numpy:0")
    assert load_backend(load_backend("numpy")) is load_backend("numpy")


def test_the_cpu_is_one_device():
    with pytest.raises(BackendUnavailableError) as caught:
        load_backend("numpy:1")
    assert caught.value.reason == "no-such-device"


@pytest.mark.parametrize("name", ["numpy", "auto", "a:b", ""])
def test_name_must_be_new(name):
    with pytest.raises(ValueError, match=f"Received: {name!r}"):
        register_backend(name, lambda device: None, array_module="x")


@pytest.mark.usefixtures("registrations")
def test_registered_backend_is_found_by_name_and_by_array():
    other = type("Other", (), {"__module__": "otherlib.core", "dtype": None})
    register_backend("other", lambda n: make_backend("other", other, n), array_module="otherlib")
    assert registered_backends()[-1] == "other"
    assert backend_of(other()) is load_backend("other")
    assert load_backend("other:2").name == "other:2"


@pytest.mark.usefixtures("registrations")
def test_two_devices_share_an_array_class():
    class Other:
        __module__ = "otherlib"

        def __init__(self, number):
            self.device = type("Device", (), {"id": number})

    def make(number):
        backend = make_backend("other", Other, number)
        backend.owns = lambda array: array.device.id == number
        return backend

    register_backend("other", make, array_module="otherlib")
    for number, name in ((0, "other"), (1, "other:1"), (0, "other")):
        assert backend_of(Other(number)).name == name
        assert registry.backend_for(1.0, Other(number)) is load_backend(name)


class TestEntryPoints:
    @pytest.fixture(autouse=True)
    def _points(self, monkeypatch, registrations):
        monkeypatch.setattr(registry, "_entry_points_read", False)
        monkeypatch.setattr("importlib.metadata.entry_points", lambda group: self.points[group])

    def register(self, register_backend):
        register_backend("plugged", lambda n: make_backend("plugged", list), array_module="x")

    def test_is_called_with_register_backend(self, monkeypatch):
        point = EntryPoint("plugged", "somewhere:register", "nnlib.backends")
        monkeypatch.setattr(EntryPoint, "load", lambda _: self.register)
        self.points = {"nnlib.backends": [point]}
        assert load_backend("plugged").name == "plugged"

    def test_broken_one_warns_and_the_others_work(self):
        point = EntryPoint("broken", "no_such_module:register", "nnlib.backends")
        self.points = {"nnlib.backends": [point]}
        with pytest.warns(RuntimeWarning, match=r"'broken' of 'no_such_module:register'"):
            registered_backends()
        assert load_backend("numpy").name == "numpy"


# What is here


def test_available_backends_gives_the_reason():
    available = available_backends()
    assert available["numpy"] is None
    assert available["cupy"] is None or isinstance(available["cupy"], BackendUnavailableError)


def test_backend_info_describes_the_cpu():
    info = backend_info()
    assert info["backend"] == "numpy"
    assert info["kind"] == "cpu"
    assert info["cores"] >= 1
    assert info["memory_bytes"] > 1 << 28
    assert info["libraries"]["numpy"] == np.__version__
    assert backend_info("strict")["backend"] == "strict"


def test_backend_of_an_array():
    assert backend_of(np.zeros(3)).name == "numpy"
    assert backend_of(load_backend("strict").xp.zeros(3)).name == "strict"


@pytest.mark.parametrize("value", [[1, 2], 3.0, None, np.float32(1)])
def test_backend_of_anything_else_is_an_error(value):
    with pytest.raises(BackendMismatchError, match="Received:") as caught:
        backend_of(value)
    assert isinstance(caught.value, TypeError)


def test_backend_for_passes_over_scalars():
    strict = load_backend("strict")
    array = strict.xp.zeros(3)
    assert registry.backend_for(2.0, array) is strict
    assert registry.backend_for(np.float32(2), array) is strict
    assert registry.backend_for(np.zeros(3)) is load_backend("numpy")
    with use_backend("strict"):
        assert registry.backend_for(2.0) is strict


# auto


@pytest.mark.usefixtures("registrations")
def test_auto_falls_back_with_one_line(monkeypatch, capsys):
    def no_gpu(device):
        raise BackendUnavailableError("cupy", "no-driver", "there is no driver.", "install one.")

    monkeypatch.setitem(registry._registrations, "cupy", registry._Registration(no_gpu, "cupy"))
    registry._loaded.pop("cupy", None)
    registry._loaded.pop("auto", None)
    assert load_backend("auto").name == "numpy"
    assert load_backend("auto").name == "numpy"
    captured = capsys.readouterr()
    assert captured.err == "nnlib: using numpy, because there is no driver.\n"
    assert captured.out == ""


@pytest.mark.usefixtures("registrations")
def test_auto_is_silent_where_there_is_a_gpu(monkeypatch, capsys):
    found = make_backend("cupy", bytearray)
    monkeypatch.setitem(
        registry._registrations, "cupy", registry._Registration(lambda n: found, "cupy")
    )
    registry._loaded.pop("cupy", None)
    registry._loaded.pop("auto", None)
    assert load_backend("auto") is found
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_backend_is_pickled_as_its_name(backend, protocol):
    text = pickle.dumps(backend, protocol)
    assert pickle.loads(text) is backend
    assert len(text) < 100
    assert copy.copy(backend) is backend
    assert copy.deepcopy([backend])[0] is backend


def test_a_pickle_of_a_backend_that_is_not_there():
    text = pickle.dumps(load_backend("numpy"), 0).replace(b"numpy", b"cupyy")
    with pytest.raises(UnknownBackendError, match="Received: 'cupyy'"):
        pickle.loads(text)
