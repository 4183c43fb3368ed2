"""Compiled functions: recorded once for each kind of arguments, then replayed."""

from nnlib.capture.compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
