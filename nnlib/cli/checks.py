"""The checks of ``nnlib doctor``: small functions that each yield findings."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import nnlib
from nnlib.errors import (
    BackendUnavailableError,
    DataNotFoundError,
    NnlibError,
    did_you_mean,
    install_command,
)
from nnlib_backends import config

__all__ = ["CHECKS", "Check", "Finding"]

PYTHON, NUMPY = (3, 11), (2, 1)  # oldest supported versions

_NUMBA = "pip install --upgrade numba scipy"

Status: TypeAlias = Literal["ok", "note", "warning", "fail"]


@dataclass(frozen=True)
class Finding:
    """Result of a check, and its remedy."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


Check: TypeAlias = Callable[[], Iterator[Finding]]


def check_python() -> Iterator[Finding]:
    """Python."""
    yield _at_least("Python", sys.version.split()[0], PYTHON, "install a newer Python")


def check_numpy() -> Iterator[Finding]:
    """NumPy."""
    yield _at_least("NumPy", version("numpy"), NUMPY, "pip install --upgrade numpy")


def _at_least(name: str, found: str, minimum: tuple[int, int], remedy: str) -> Finding:
    major, minor, *_ = found.split(".")
    if (int(major), int(minor)) >= minimum:
        return Finding(name, "ok", found)
    return Finding(name, "fail", f"{found} is older than {minimum[0]}.{minimum[1]}", remedy)


def check_blas() -> Iterator[Finding]:
    """BLAS threads."""
    info = nnlib.backend_info("numpy")
    cores, threads = info["cores"], info["details"].get("blas_threads")
    name = info["libraries"].get("blas")
    if name is None or threads is None:
        yield Finding(
            "BLAS",
            "note",
            "NumPy's matrix product library could not be recognised, nor its threads counted",
        )
    elif threads == 1 < cores:
        yield Finding(
            "BLAS",
            "warning",
            f"{name} uses 1 thread on {cores} usable cores: matrix products are slow",
            "unset OMP_NUM_THREADS, OPENBLAS_NUM_THREADS and MKL_NUM_THREADS",
        )
    elif threads > cores:
        yield Finding(
            "BLAS",
            "warning",
            f"{name} uses {threads} threads on {cores} usable cores: they wait for each other",
            f"set OMP_NUM_THREADS={cores} and OPENBLAS_NUM_THREADS={cores}",
        )
    else:
        yield Finding("BLAS", "ok", f"{name}, {threads} threads on {cores} usable cores")


def check_kernels() -> Iterator[Finding]:
    """CPU kernels."""
    details = nnlib.backend_info("numpy")["details"]
    if details["compiled"]:
        yield Finding("CPU kernels", "ok", details["kernels"])
    else:
        remedy = "unset NNLIB_NATIVE" if config.NATIVE.get() == "0" else _NUMBA
        yield Finding("CPU kernels", "note", f"slower than need be: {details['kernels']}", remedy)


def check_choice() -> Iterator[Finding]:
    """NNLIB_BACKEND."""
    name = config.BACKEND.get()
    if not name:
        yield Finding("NNLIB_BACKEND", "ok", "not set: new arrays go to numpy")
        return
    try:
        with nnlib.use_backend(name) as backend:
            yield Finding("NNLIB_BACKEND", "ok", f"{name}: new arrays go to {backend.name}")
    except BackendUnavailableError as error:
        yield Finding("NNLIB_BACKEND", "fail", f"{name}: {error.detail}", error.remedy)
    except NnlibError as error:
        yield Finding("NNLIB_BACKEND", "fail", str(error), "unset it, or set it to one of these")


def check_variables() -> Iterator[Finding]:
    """Environment variables that nnlib does not know."""
    known = [setting.name for setting in config.SETTINGS]
    for name in os.environ:
        if name.startswith("NNLIB_") and name not in known:
            hint = did_you_mean(name, known)
            yield Finding(name, "note", f"nnlib reads no variable of this name.{hint}", "unset it")


def check_backends() -> Iterator[Finding]:
    """Backends."""
    for name, error in nnlib.available_backends().items():
        if error is not None:
            # not a failure unless NNLIB_BACKEND names it: see check_choice
            yield Finding(f"backend {name}", "note", f"not usable: {error.detail}", error.remedy)
            continue
        try:
            _multiply(name)
            first, last = _train(name)
        except (NnlibError, ArithmeticError) as problem:
            yield Finding(
                f"backend {name}", "fail", str(problem), "report it with the output of `nnlib info`"
            )
        else:
            yield Finding(
                f"backend {name}",
                "ok",
                f"multiplies and trains: the loss fell from {first:.3f} to {last:.3f}",
            )
            yield from _missing(name)


def _missing(backend: str) -> Iterator[Finding]:
    """Yield the missing libraries without which a backend is slower."""
    info = nnlib.backend_info(backend)
    for library, reason in info["missing"].items():
        detail = f"slower or less complete without {library}: {reason}"
        yield Finding(f"backend {backend}: {library}", "warning", detail, info["remedy"])


def _multiply(backend: str) -> None:
    """Multiply matrices of integers, exact in float32, and compare with the known sum."""
    n = 64
    with nnlib.use_backend(backend), nnlib.no_grad():
        row = nnlib.arange(n, dtype="float32")
        product = nnlib.matmul(row.reshape(1, n), row.reshape(n, 1)).item()
    expected = (n - 1) * n * (2 * n - 1) // 6
    if product != expected:
        raise ArithmeticError(f"a matrix product must be {expected}. Received: {product}")


def _train(backend: str) -> tuple[float, float]:
    """Train the course's 2-3-1 network on XOR for some steps; the loss must fall."""
    with nnlib.use_backend(backend):
        x = nnlib.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
        y = nnlib.tensor([[0.0], [1.0], [1.0], [0.0]])
        model = nnlib.nn.Sequential(nnlib.nn.Linear(2, 3), nnlib.nn.Tanh(), nnlib.nn.Linear(3, 1))
        with nnlib.no_grad():  # fixed weights: the result must not be random
            for parameter in model.parameters():
                values = nnlib.linspace(-0.9, 1.1, parameter.size)
                parameter.copy_(values.reshape(parameter.shape))
        optimizer = nnlib.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            loss = nnlib.nn.functional.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    if not losses[-1] < losses[0]:
        raise ArithmeticError(
            f"the loss must fall in training. Received: {losses[0]} → {losses[-1]}"
        )
    return losses[0], losses[-1]


def check_gradients() -> Iterator[Finding]:
    """Gradients."""
    with nnlib.use_backend("numpy"):
        values = nnlib.linspace(-2.0, 2.0, 6, dtype="float64").reshape(2, 3)
        x = nnlib.tensor(values, requires_grad=True)
        weight = nnlib.tensor(values * 0.3 + 0.1, requires_grad=True)
        nnlib.gradcheck(lambda x, w: nnlib.tanh(nnlib.matmul(x, nnlib.transpose(w))), [x, weight])
    yield Finding("gradients", "ok", "agree with finite differences")


def check_files() -> Iterator[Finding]:
    """Saving and loading."""
    with nnlib.use_backend("numpy"), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        source, target = nnlib.nn.Linear(3, 2), nnlib.nn.Linear(3, 2)
        nnlib.save(source.state_dict(), path)
        target.load_state_dict(nnlib.load(path))
        pairs = zip(source.parameters(), target.parameters(), strict=True)
        if any(a.tolist() != b.tolist() for a, b in pairs):
            raise ArithmeticError("weights that were saved and loaded must be the same")
    yield Finding("saving and loading", "ok", "a safetensors file came back as it was written")


def check_folders() -> Iterator[Finding]:
    """Data folder."""
    import pooch

    given = config.DATA.get()
    folder = Path(given).expanduser() if given else Path(pooch.os_cache("nnlib"))
    name = "NNLIB_DATA" if given else "data cache"
    if given and not folder.is_dir():
        yield Finding(
            name, "fail", f"{folder} is not a folder", f"mkdir {folder}, or unset NNLIB_DATA"
        )
        return
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        remedy = "set NNLIB_DATA to a folder that you can write, or that holds the data sets"
        detail = f"{folder} cannot be written ({error.strerror}): downloads will fail"
        yield Finding(name, "warning", detail, remedy)
    else:
        yield Finding(name, "ok", f"{folder} can be written")


def check_mnist() -> Iterator[Finding]:
    """MNIST."""
    try:
        train, test = nnlib.data.mnist(download=False)
        yield Finding("MNIST", "ok", f"found, {len(train)} + {len(test)} images")
    except DataNotFoundError:
        yield Finding(
            "MNIST",
            "note",
            "not found on this machine",
            "nothing to do with internet access (it is downloaded when first used); "
            "without, set NNLIB_DATA to a folder that holds it",
        )


def check_plots() -> Iterator[Finding]:
    """Plots."""
    if find_spec("matplotlib"):
        yield Finding("plots", "ok", "matplotlib is installed")
    else:
        yield Finding("plots", "note", "matplotlib is not installed", install_command("plot"))


CHECKS: tuple[Check, ...] = (
    check_python,
    check_numpy,
    check_blas,
    check_choice,
    check_variables,
    check_backends,
    check_kernels,
    check_gradients,
    check_files,
    check_folders,
    check_mnist,
    check_plots,
)
