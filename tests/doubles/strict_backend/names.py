"""CuPy's names: the lines of cupy_names.txt, and properties that these lack."""

from pathlib import Path

#: name → (kind, keywords).  Methods of ndarray begin with a dot, submodules precede their names.
OFFERED: dict[str, tuple[str, frozenset[str]]] = {}
#: name of a ufunc, or of a function around one → its loops, in the order in which they are tried
LOOPS: dict[str, tuple[str, ...]] = {}
for _line in Path(__file__).with_name("cupy_names.txt").read_text("utf8").splitlines():
    if not _line.startswith("#"):
        _name, _kind, *_words = _line.split()
        if _kind in {"ufunc", "loops"}:
            LOOPS[_name] = tuple(_words)
            _words = []
        if _kind != "loops":
            OFFERED[_name] = (_kind, frozenset(_words))

#: CuPy's ufuncs take these keywords only: no ``where``, for one.
UFUNC_KEYWORDS = frozenset({"out", "dtype", "casting"})

#: ufunc methods that CuPy implements; ``outer`` works for all.
UFUNC_METHODS = {
    "at": {
        "add",
        "subtract",
        "maximum",
        "minimum",
        "bitwise_and",
        "bitwise_or",
        "bitwise_xor",
    },
    "reduce": {"add", "multiply"},
    "accumulate": {"add", "multiply"},
    "reduceat": {"add"},
}

#: Dtypes of ``add.at``.
ADD_AT_DTYPES = {"int32", "int64", "uint32", "uint64", "float16", "float32", "float64"}

#: Functions whose result has a size that depends on values, or that check a value on the host: CuPy
#: reads at least one number from the GPU in each.
READS = {
    ".choose",
    ".compress",
    ".nonzero",
    "argwhere",
    "bincount",
    "choose",
    "compress",
    "delete",
    "extract",
    "flatnonzero",
    "histogram",
    "in1d",
    "intersect1d",
    "isin",
    "linalg.cholesky",
    "linalg.inv",
    "linalg.solve",
    "nonzero",
    "percentile",
    "place",
    "quantile",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
}

#: Results of these are C-contiguous, whatever the layout of the data.
REDUCTIONS = {"all", "amax", "amin", "any", "argmax", "argmin", "max", "mean", "min", "prod", "sum"}

#: NumPy returns Python numbers here, CuPy 0-d arrays.
SCALAR_RESULTS = {"allclose", "array_equal", "array_equiv", "count_nonzero"}

#: The functions that take host data, and copy it to the device.
CONVERSIONS = {"array", "asanyarray", "asarray"}

#: CuPy calls a method of the first argument, which therefore must be an array.
FIRST_IS_ARRAY = {
    "all",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "ascontiguousarray",
    "asfortranarray",
    "clip",
    "copy",
    "cumprod",
    "cumsum",
    "max",
    "mean",
    "min",
    "prod",
    "ravel",
    "repeat",
    "reshape",
    "sort",
    "squeeze",
    "std",
    "sum",
    "swapaxes",
    "take",
    "transpose",
    "var",
    "where",
}

#: Position from which arguments must be Python integers (shapes and axes), no arrays.
HOST_FROM = {
    ".repeat": 0,
    ".reshape": 0,
    ".squeeze": 0,
    ".swapaxes": 0,
    ".transpose": 0,
    "arange": 0,
    "array_split": 1,
    "broadcast_to": 1,
    "empty": 0,
    "expand_dims": 1,
    "eye": 0,
    "flip": 1,
    "moveaxis": 1,
    "ones": 0,
    "pad": 1,
    "repeat": 1,
    "reshape": 1,
    "split": 1,
    "squeeze": 1,
    "swapaxes": 1,
    "tile": 1,
    "transpose": 1,
    "tril": 1,
    "triu": 1,
    "zeros": 0,
}
HOST_KEYWORDS = {"axes", "axis", "ddof", "keepdims", "newshape", "pad_width", "repeats", "shape"}
