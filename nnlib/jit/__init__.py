"""Compiled functions: recorded once for each kind of arguments, then replayed."""

from nnlib.jit.compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
