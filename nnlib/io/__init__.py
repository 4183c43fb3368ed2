"""Save and load weights as safetensors: names, dtypes, shapes and bytes.

The format contains no code, so that loading an untrusted file runs nothing.
"""

from nnlib.io.atomic import check_writable, make_folder, writing
from nnlib.io.layouts import from_keras, from_torch
from nnlib.io.safetensors import load, load_into, save
from nnlib.reading import reading

__all__ = [
    "check_writable",
    "from_keras",
    "from_torch",
    "load",
    "load_into",
    "make_folder",
    "reading",
    "save",
    "writing",
]
