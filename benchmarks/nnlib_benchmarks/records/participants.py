"""Records of the contestants and the machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Blas:
    """The library behind NumPy's matrix products."""

    name: str
    version: str
    threads: int
    architecture: str
    library: str


@dataclass(frozen=True)
class Machine:
    """The machine and software of a run."""

    cpu: str
    cores: int
    threads: int
    memory_bytes: int
    gpus: list[str]
    system: str
    python: str
    blas: list[Blas]
    packages: dict[str, str]
    environment: dict[str, str]
    nnlib_version: str
    git_commit: str | None


@dataclass(frozen=True)
class Peak:
    """The best rate of a contestant's own matrix product, of which other rates are shares.

    Attributes
    ----------
    flops : float
        Best measured rate, floating-point operations a second.
    size : int
        The n of that n×n product.
    by_size : dict
        n (as text) → rate.
    """

    flops: float
    size: int
    by_size: dict[str, float]


@dataclass(frozen=True)
class Contestant:
    """A backend, or another library (``kind == "peer"``), that took part.

    A name that ends in ``-eager`` is that of a backend whose steps are not compiled, one that ends
    in ``-cuda`` that of a peer on the GPU.
    """

    name: str
    kind: str  # "cpu", "gpu" or "peer"
    device: str
    cores: int
    memory_bytes: int
    precision: str  # "fp32", "tf32"
    libraries: dict[str, str]
    details: dict[str, Any]
    peak: Peak | None = None

    @property
    def on_gpu(self) -> bool:
        """Whether it runs on a GPU."""
        return self.kind == "gpu" or self.name.endswith("-cuda")


@dataclass(frozen=True)
class Missing:
    """A backend or library that could not take part, and the remedy."""

    name: str
    reason: str
    detail: str
    remedy: str
