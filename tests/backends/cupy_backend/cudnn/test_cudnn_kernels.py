import sys
from types import SimpleNamespace

import numpy as np
import pytest
from fake_cudnn import GENERAL, Device, Namespace

from nnlib_backends.base import anywhere
from nnlib_backends.cupy_backend.cudnn import cudnn_kernels
from nnlib_backends.cupy_backend.cudnn.convolution import Epilogue

CONVOLUTION = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 1}


def cudnn_of(version):
    return SimpleNamespace(
        backend_version=lambda: version,
        backend_version_string=lambda: f"{version // 10000}.{version // 100 % 100}.0",
    )


def make(monkeypatch, cudnn):
    monkeypatch.setitem(sys.modules, "cudnn", cudnn)
    properties = {"name": b"NVIDIA H100 80GB HBM3"}
    runtime = SimpleNamespace(getDeviceProperties=lambda number: properties)
    cupy = SimpleNamespace(cuda=SimpleNamespace(runtime=runtime), empty=np.empty)
    return cudnn_kernels.make_kernels(cupy, Device(), Namespace(), GENERAL, Epilogue())


def test_missing_or_old_cudnn_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules, "cudnn", None)
    assert cudnn_kernels.find_cudnn()[0] is None
    assert "cannot be loaded" in cudnn_kernels.find_cudnn()[1]
    for version, usable in ((91800, False), (91900, True), (92800, True)):
        cudnn = cudnn_of(version)
        monkeypatch.setitem(sys.modules, "cudnn", cudnn)
        assert (cudnn_kernels.find_cudnn() == (cudnn, "")) == usable
    monkeypatch.setitem(sys.modules, "cudnn", cudnn_of(91800))
    assert cudnn_kernels.find_cudnn() == (None, "cuDNN must be 9.19 or newer, this is 9.18.0")


@pytest.mark.parametrize("cudnn", [None, cudnn_of(91800)], ids=["missing", "old"])
def test_without_cudnn_the_first_use_says_once_that_it_is_slow(monkeypatch, capsys, cudnn):
    kernels, version, reason = make(monkeypatch, cudnn)
    assert version is None
    assert reason == cudnn_kernels.find_cudnn()[1]
    assert capsys.readouterr().err == ""  # nobody has asked for a convolution yet
    x, weight = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 3, 2), np.float32)
    expected = GENERAL["conv2d"].forward(x, weight, None, **CONVOLUTION)[0]
    for _ in range(2):
        y, saved = kernels["conv2d"].forward(x, weight, None, **CONVOLUTION)
        np.testing.assert_array_equal(y, expected)
    kernels["conv2d"].backward(
        y, saved, anywhere((True, True, False)), x, weight, None, **CONVOLUTION
    )
    qkv = np.ones((1, 4, 3, 2, 8), np.float32)
    kernels["self_attention"].forward(qkv, None, None, causal=True, scale=None)
    said = capsys.readouterr().err
    assert said.startswith("nnlib: conv2d on the GPU is slow")
    assert "pip install " in said
    assert "[cuda1" in said
    assert said.count("\n") == 1


def test_with_cudnn_nothing_is_said(monkeypatch, capsys):
    kernels, version, reason = make(monkeypatch, cudnn_of(92800))
    assert (version, reason) == ("9.28.0", "")
    assert set(kernels) == {"conv2d", "attention", "self_attention"}
    x = np.ones((1, 4, 4, 2))  # float64: for the patches
    kernels["conv2d"].forward(x, np.ones((3, 3, 3, 2)), None, **CONVOLUTION)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("value", "expected"), [(None, True), ("1", True), ("0", False)])
def test_gradients_of_attention_may_differ_if_somebody_says_so(monkeypatch, value, expected):
    if value is not None:
        monkeypatch.setenv("NNLIB_CUDNN_DETERMINISTIC", value)
    seen = []
    monkeypatch.setattr(cudnn_kernels, "make_attention", lambda *args: seen.append(args[3]) or {})
    make(monkeypatch, cudnn_of(92800))
    assert seen == [expected]
