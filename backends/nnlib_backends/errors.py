"""The root of nnlib's exception tree and the errors that backends raise.

The whole tree is drawn in ``nnlib/errors.py``.
"""

from __future__ import annotations

from typing import Any


class NnlibError(Exception):
    """Base class of every error that nnlib raises on purpose.

    Attributes
    ----------
    layer : str
        Class of the innermost layer whose ``forward`` it left, or empty.
    layer_path : str
        That layer's dotted path in the model that was called, empty for the model itself.
    """

    layer: str = ""
    layer_path: str = ""
    origin: object = None  # the outermost module passed so far

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle text and layer, but not the module: errors travel between processes."""
        made: Any = super().__reduce__()
        return made[0], made[1], {k: v for k, v in vars(self).items() if k != "origin"}

    def __str__(self) -> str:
        text = super().__str__()
        if not self.layer:
            return text
        return (
            f"{text} [in {self.layer} at {self.layer_path!r}]"
            if self.layer_path
            else f"{text} [in {self.layer}]"
        )


class BackendError(NnlibError, RuntimeError):
    """Base class of errors about backends."""


class UnknownBackendError(BackendError, ValueError):
    """A backend name that is not registered."""


class BackendMismatchError(BackendError, TypeError):
    """An operation got arrays of two backends, or of none."""


class CaptureError(NnlibError, RuntimeError):
    """A compiled function cannot be traced or replayed."""


class BackendUnavailableError(BackendError):
    """A known backend cannot be used on this machine.

    Parameters
    ----------
    backend : str
        The requested name, such as ``"cupy"``.
    reason : str
        One of `REASONS`: the machine-readable cause.
    detail : str
        The cause, in a sentence.
    remedy : str
        The command or step that fixes it.

    Examples
    --------
    >>> error = BackendUnavailableError("cupy", "not-installed", "CuPy is not installed.",
    ...                                 "pip install -e '.[cuda12]'")
    >>> print(error)
    backend 'cupy' cannot be used: CuPy is not installed. To fix it: pip install -e '.[cuda12]'
    """

    REASONS = (
        "not-installed",  # no CuPy package
        "two-wheels",  # cupy-cuda12x and cupy-cuda13x (or cupy) side by side
        "cuda-library-missing",  # CuPy is there, a CUDA library that it loads is not
        "no-driver",  # no NVIDIA driver on this machine
        "driver-too-old",  # the driver does not support this CUDA version
        "no-device",  # driver present, no GPU visible (CUDA_VISIBLE_DEVICES?)
        "no-such-device",  # cupy:N with N beyond the last GPU
        "out-of-memory",  # the GPU is full
        "probe-failed",  # the first kernel launch failed for another reason
    )

    def __init__(self, backend: str, reason: str, detail: str, remedy: str) -> None:
        if reason not in self.REASONS:
            raise ValueError(f"reason must be one of {self.REASONS}. Received: {reason!r}")
        super().__init__(f"backend {backend!r} cannot be used: {detail} To fix it: {remedy}")
        self.backend = backend
        self.reason = reason
        self.detail = detail
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:  # pickle would call __init__ with the text alone
        return type(self), (self.backend, self.reason, self.detail, self.remedy)
