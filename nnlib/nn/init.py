"""Initial values of parameters.

Every function overwrites a tensor in place, without a tape, and returns it.  Random values come
from `nnlib.random.default_generator` unless a generator is given; they are drawn in float32, so a
seed gives the same values on every backend and for every dtype.

The fans of a weight (out, …, in) are the numbers of inputs of one output and of outputs of one
input: fan_in = in · k and fan_out = out · k with k the product of the middle axes, which is 1 for a
matrix (out, in) and kh · kw for convolution filters (out, kh, kw, in).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from nnlib.autograd import Tensor, no_grad, zeros
from nnlib.errors import OptionError, ShapeError
from nnlib.nn.erfinv import erfinv
from nnlib.random import Generator, default_generator
from nnlib_backends.base import Array

__all__ = [
    "calculate_gain",
    "constant_",
    "empty",
    "fans",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lecun_normal_",
    "lecun_uniform_",
    "normal_",
    "ones_",
    "orthogonal_",
    "skip",
    "trunc_normal_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

T = TypeVar("T", bound=Tensor)


def empty(*shape: int) -> Tensor:
    """Make an uninitialised float32 tensor on the current backend.

    Raises
    ------
    OptionError
        If a size is not a non-negative integer.

    Examples
    --------
    >>> empty(2, 3).shape
    (2, 3)
    """
    if any(not isinstance(size, int) or isinstance(size, bool) or size < 0 for size in shape):
        raise OptionError(f"the sizes of a parameter must be integers ≥ 0. Received: {shape}")
    return zeros(shape)


_skipping: ContextVar[bool] = ContextVar("nnlib_init_skip", default=False)


@contextmanager
def skip() -> Iterator[None]:
    """Skip random initialisation inside a ``with`` block.

    New layers are zero, without touching their memory.  Use it for models whose weights will be
    loaded or drawn otherwise, and for counting.

    Examples
    --------
    >>> with skip():
    ...     uniform_(empty(2))
    tensor([0., 0.])
    """
    token = _skipping.set(True)
    try:
        yield
    finally:
        _skipping.reset(token)


# Distributions -------------------------------------------------------------------------------


def uniform_(t: T, low: float = 0.0, high: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with uniform numbers in [low, high).

    Parameters
    ----------
    t : Tensor
        Any shape; it is overwritten.
    low, high : float
        The limits.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Examples
    --------
    >>> t = uniform_(empty(100), -1.0, 1.0)
    >>> bool(abs(t).max() <= 1)
    True
    """
    if _skipping.get():
        return t
    source = generator or default_generator
    return _fill(t, source.uniform(t.shape, low, high, backend=t.backend))


def normal_(t: T, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with normal numbers of a mean and standard deviation.

    Parameters
    ----------
    t : Tensor
        Any shape; it is overwritten.
    mean, std : float
        Of the distribution.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Examples
    --------
    >>> from nnlib.random import Generator
    >>> t = normal_(empty(10000), mean=5.0, std=2.0, generator=Generator(0))
    >>> print(f"{t.mean():.1f} {t.std():.1f}")
    5.0 2.0
    """
    if _skipping.get():
        return t
    source = generator or default_generator
    return _fill(t, source.normal(t.shape, mean, std, backend=t.backend))


def trunc_normal_(
    t: T,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> T:
    """Fill with normal numbers that lie in [a, b], by the inverse distribution function.

    Parameters
    ----------
    t : Tensor
    mean, std : float
        Of the normal distribution before truncation.
    a, b : float
        Limits of the values (not in standard deviations).
    generator : Generator, optional

    Raises
    ------
    OptionError
        If ``a < b`` or ``std > 0`` does not hold.

    Examples
    --------
    >>> t = trunc_normal_(empty(100, 10), std=3.0, a=-1.0, b=1.0)
    >>> bool(abs(t).max() <= 1)
    True
    """
    if not (a < b and std > 0):
        raise OptionError(f"a < b and std > 0 must hold. Received: a={a}, b={b}, std={std}")
    if _skipping.get():
        return t
    source, xp = generator or default_generator, t.backend.xp
    low, high = (math.erf((limit - mean) / (std * math.sqrt(2))) for limit in (a, b))
    half = (high - low) * 2.0**-25  # of a step: erfinv(±1) is infinite
    ends = low + half, high + half
    values = erfinv(xp, source.uniform(t.shape, *ends, dtype="float64", backend=t.backend))
    return _fill(t, xp.clip(values * (std * math.sqrt(2)) + mean, a, b))


def constant_(t: T, value: float) -> T:
    """Fill with one value.

    Parameters
    ----------
    t : Tensor
        Any shape; it is overwritten.
    value : float
        The value.

    Examples
    --------
    >>> constant_(empty(2), 7.0)
    tensor([7., 7.])
    """
    with no_grad():
        t.fill_(value)
    return t


def zeros_(t: T) -> T:
    """Fill a tensor of any shape with 0.

    Use it for biases; with a weight matrix of zeros all hidden neurons stay equal.

    Examples
    --------
    >>> zeros_(empty(2))
    tensor([0., 0.])
    """
    return constant_(t, 0.0)


def ones_(t: T) -> T:
    """Fill a tensor of any shape with 1.

    Examples
    --------
    >>> ones_(empty(2))
    tensor([1., 1.])
    """
    return constant_(t, 1.0)


# Distributions of a variance given by the shape ----------------------------------------------


def fans(t: Tensor) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight (out, …, in).

    Raises
    ------
    ShapeError
        If it has fewer than two axes.

    Examples
    --------
    >>> fans(empty(32, 3, 3, 16))
    (144, 288)
    """
    if t.ndim < 2:
        raise ShapeError(
            "fan_in and fan_out need a weight (out, …, in) of two axes or more. "
            f"Received: shape {t.shape}"
        )
    window = math.prod(t.shape[1:-1])
    return t.shape[-1] * window, t.shape[0] * window


def calculate_gain(nonlinearity: str, a: float = 0.0) -> float:
    """Return the gain of the weights before an activation, as PyTorch recommends.

    Parameters
    ----------
    nonlinearity : {"linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
    a : float
        Negative slope, of ``"leaky_relu"`` only.

    Raises
    ------
    OptionError
        If the name is unknown.

    Examples
    --------
    >>> round(calculate_gain("relu"), 4)
    1.4142
    """
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1 + a * a)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise OptionError(
            f"nonlinearity must be one of {', '.join(gains)}. Received: {nonlinearity!r}"
        )
    return gains[nonlinearity]


def xavier_uniform_(t: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill uniformly with variance gain² · 2 / (fan_in + fan_out) (Glorot & Bengio, 2010).

    Parameters
    ----------
    t : Tensor
        A weight (out, …, in); it is overwritten.
    gain : float
        See `calculate_gain`.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Raises
    ------
    ShapeError
        If there are fewer than two axes.

    Examples
    --------
    >>> t = xavier_uniform_(empty(100, 50))
    >>> bool(abs(t).max() <= (6 / 150) ** 0.5)
    True
    """
    return _uniform(t, _xavier_std(t, gain), generator)


def xavier_normal_(t: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill normally with variance gain² · 2 / (fan_in + fan_out) (Glorot & Bengio, 2010).

    Parameters and errors are those of `xavier_uniform_`.

    Examples
    --------
    >>> from nnlib.random import Generator
    >>> t = xavier_normal_(empty(100, 100), generator=Generator(0))
    >>> print(f"{t.std():.2f}")
    0.10
    """
    return normal_(t, 0.0, _xavier_std(t, gain), generator)


def kaiming_uniform_(
    t: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Fill uniformly with variance gain² / fan, which preserves the variance in ReLU networks.

    Source: He, Zhang, Ren & Sun (2015).

    Parameters
    ----------
    t : Tensor
    a : float
        Negative slope of the leaky ReLU that follows; 0 for ReLU.
    mode : {"fan_in", "fan_out"}
        Preserve the variance of the forward pass or of the backward pass.
    nonlinearity : str
        See `calculate_gain`.
    generator : Generator, optional

    Raises
    ------
    ShapeError
        If there are fewer than two axes.
    OptionError
        If ``mode`` or ``nonlinearity`` is unknown.

    Examples
    --------
    >>> t = kaiming_uniform_(empty(100, 50), nonlinearity="relu")
    >>> bool(abs(t).max() <= (6 / 50) ** 0.5)
    True
    """
    return _uniform(t, _kaiming_std(t, a, mode, nonlinearity), generator)


def kaiming_normal_(
    t: T,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> T:
    """Fill normally with variance gain² / fan (He, Zhang, Ren & Sun, 2015).

    Parameters and errors are those of `kaiming_uniform_`.

    Examples
    --------
    >>> from nnlib.random import Generator
    >>> t = kaiming_normal_(empty(100, 200), generator=Generator(0))
    >>> print(f"{t.std():.2f}")
    0.10
    """
    return normal_(t, 0.0, _kaiming_std(t, a, mode, nonlinearity), generator)


def lecun_uniform_(t: T, generator: Generator | None = None) -> T:
    """Fill uniformly with variance 1 / fan_in (LeCun, Bottou, Orr & Müller, 1998).

    Parameters
    ----------
    t : Tensor
        A weight (out, …, in); it is overwritten.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Raises
    ------
    ShapeError
        If there are fewer than two axes.

    Examples
    --------
    >>> t = lecun_uniform_(empty(100, 50))
    >>> bool(abs(t).max() <= (3 / 50) ** 0.5)
    True
    """
    return _uniform(t, _std(1.0, fans(t)[0]), generator)


def lecun_normal_(t: T, generator: Generator | None = None) -> T:
    """Fill normally with variance 1 / fan_in (LeCun, Bottou, Orr & Müller, 1998).

    Parameters and errors are those of `lecun_uniform_`.

    Examples
    --------
    >>> from nnlib.random import Generator
    >>> t = lecun_normal_(empty(100, 100), generator=Generator(0))
    >>> print(f"{t.std():.2f}")
    0.10
    """
    return normal_(t, 0.0, _std(1.0, fans(t)[0]), generator)


def orthogonal_(t: T, gain: float = 1.0, generator: Generator | None = None) -> T:
    """Fill with a random orthogonal matrix times a gain (Saxe, McClelland & Ganguli, 2014).

    The axes after the first count as one.  The rows are orthonormal if there are no more of them
    than columns, else the columns are.

    Parameters
    ----------
    t : Tensor
        A weight (out, …, in); it is overwritten.
    gain : float
        Factor of the matrix.
    generator : Generator, optional
        Source of the numbers; the default generator if not given.

    Raises
    ------
    ShapeError
        If there are fewer than two axes.

    Examples
    --------
    >>> w = orthogonal_(empty(2, 3))
    >>> bool(abs(w @ w.T - [[1.0, 0.0], [0.0, 1.0]]).max() < 1e-6)
    True
    """
    if t.ndim < 2:
        raise ShapeError(f"orthogonal_ needs two axes or more. Received: shape {t.shape}")
    if _skipping.get():
        return t
    source, xp = generator or default_generator, t.backend.xp
    rows, columns = t.shape[0], math.prod(t.shape[1:])
    long, short = max(rows, columns), min(rows, columns)
    q, r = xp.linalg.qr(source.normal((long, short), backend=t.backend))
    # with the diagonal of R positive, all orthogonal matrices are equally likely
    q = q * xp.where(xp.diagonal(r) < 0, -gain, gain).astype(q.dtype)
    return _fill(t, xp.reshape(q if rows >= columns else xp.transpose(q), t.shape))


# Shared parts --------------------------------------------------------------------------------


def _fill(t: T, values: Array) -> T:
    with no_grad():
        t.copy_(values)
    return t


def _uniform(t: T, std: float, generator: Generator | None) -> T:
    bound = math.sqrt(3.0) * std  # a uniform distribution on ± b has variance b² / 3
    return uniform_(t, -bound, bound, generator)


def _std(gain: float, fan: float) -> float:
    return gain / math.sqrt(max(fan, 1))


def _xavier_std(t: Tensor, gain: float) -> float:
    return _std(gain, sum(fans(t)) / 2)


def _kaiming_std(t: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise OptionError(f"mode must be 'fan_in' or 'fan_out'. Received: {mode!r}")
    return _std(calculate_gain(nonlinearity, a), fans(t)[mode == "fan_out"])
