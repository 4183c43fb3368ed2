"""`nnlib.compile`: trace a function once for each kind of arguments, then replay the program."""

from nnlib.jit.compiled import Compiled, compile

__all__ = ["Compiled", "compile"]
