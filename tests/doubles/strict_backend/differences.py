"""Differences between CuPy 14.2 and NumPy, for every function, method and operator nnlib uses.

``test_differences.py`` fails when nnlib calls one that is not here, and has an example for each
difference that the strict backend reproduces.
"""

from typing import NamedTuple


class Row(NamedTuple):
    """CuPy's behaviour for one name.

    Attributes
    ----------
    source : str
        CuPy's file and function, below ``cupy/`` unless it begins with ``cupyx/``.
    differs : str
        The difference from NumPy; empty if there is none.
    shown : bool
        Whether the strict backend reproduces it.
    """

    source: str
    differs: str = ""
    shown: bool = True


_MATH = "_core/_routines_math.pyx:"
_INDEX = "_core/_routines_indexing.pyx:"
_SHAPE = "_core/_routines_manipulation.pyx:"
_LOGIC = "_core/_routines_logic.pyx:"
_STATISTICS = "_core/_routines_statistics.pyx:"
_CORE = "_core/core.pyx:"

#: Functions of the namespace.
FUNCTIONS = {
    "abs": Row(_MATH + "_absolute"),
    "add": Row(_MATH + "_add"),
    "add.at": Row(
        _INDEX + "_scatter_op_single",
        "adds by atomicAdd, in another order each time; TypeError for bfloat16, bool and integers "
        "of 8 and 16 bits",
    ),
    "all": Row(_LOGIC + "_all"),
    "any": Row(_LOGIC + "_any"),
    "arange": Row("_creation/ranges.py:arange"),
    "argmax": Row(_STATISTICS + "_argmax", "of several NaNs any, not the first", False),
    "argmin": Row(_STATISTICS + "_argmin", "of several NaNs any, not the first", False),
    "argsort": Row(
        "cuda/thrust.pyx:argsort", "NotImplementedError for bfloat16; only the kind 'stable'"
    ),
    "array": Row(_CORE + "array", "copies host data to the device: refused during capture"),
    "asarray": Row(_CORE + "array", "copies host data to the device: refused during capture"),
    "ascontiguousarray": Row(_CORE + "ascontiguousarray", "takes no host data"),
    "bitwise_and": Row("_core/_routines_binary.pyx:_bitwise_and"),
    "bitwise_or": Row("_core/_routines_binary.pyx:_bitwise_or"),
    "broadcast_to": Row(_SHAPE + "broadcast_to", "the view can be written to", False),
    "ceil": Row("_math/rounding.py:ceil"),
    "clip": Row(
        _MATH + "_ndarray_clip",
        "no loop for bfloat16: float32, and TypeError without one of the bounds; a bound of NaN "
        "binds nothing",
    ),
    "concatenate": Row(
        _SHAPE + "_concatenate_single_kernel",
        "copies the addresses of more than 8 small arrays of one dtype to the device",
    ),
    "copy": Row("_creation/from_data.py:copy", "takes no host data"),
    "copysign": Row("_math/floating.py:copysign"),
    "cos": Row("_math/trigonometric.py:cos"),
    "cosh": Row("_math/hyperbolic.py:cosh"),
    "cumsum": Row(_MATH + "scan_core", "adds in another order", False),
    "diagonal": Row(_INDEX + "_diagonal", "the view can be written to", False),
    "divide": Row(_MATH + "_true_divide"),
    "dot": Row(
        "_core/_routines_linalg.pyx:tensordot_core",
        "of two vectors of 16 bits: the products are rounded before they are added",
    ),
    "dtype": Row("__init__.py:dtype"),
    "empty": Row("_creation/basic.py:empty"),
    "equal": Row(_LOGIC + "_equal"),
    "erf": Row("cupyx/scipy/special/_erf.py:erf", "float64 for float16, float32 for bfloat16"),
    "exp": Row("_math/explog.py:exp"),
    "expand_dims": Row("_manipulation/dims.py:expand_dims"),
    "expm1": Row("_math/explog.py:expm1"),
    "eye": Row("_creation/basic.py:eye"),
    "finfo": Row("__init__.py:finfo"),
    "flatnonzero": Row("_sorting/search.py:flatnonzero", "the host reads how many there are"),
    "flip": Row("_manipulation/rearrange.py:flip"),
    "floor": Row("_math/rounding.py:floor"),
    "floor_divide": Row(
        _MATH + "_floor_divide", "the floor of the rounded quotient: 1 // 0.1 is 10"
    ),
    "fmod": Row("_math/arithmetic.py:fmod"),
    "from_dlpack": Row("_core/dlpack.pyx:from_dlpack", "takes no host data", False),
    "full": Row("_creation/basic.py:full"),
    "greater": Row(_LOGIC + "_greater"),
    "greater_equal": Row(_LOGIC + "_greater_equal"),
    "invert": Row("_core/_routines_binary.pyx:_invert"),
    "isfinite": Row("_logic/content.py:isfinite"),
    "isinf": Row("_logic/content.py:isinf"),
    "isnan": Row("_logic/content.py:isnan"),
    "less": Row(_LOGIC + "_less"),
    "less_equal": Row(_LOGIC + "_less_equal"),
    "linalg.qr": Row(
        "linalg/_decomposition.py:qr", "by cuSOLVER, so by NumPy on the host instead", False
    ),
    "linalg.svd": Row(
        "linalg/_decomposition.py:svd", "by cuSOLVER, so by NumPy on the host instead", False
    ),
    "linspace": Row("_creation/ranges.py:linspace"),
    "log": Row("_math/explog.py:log"),
    "log1p": Row("_math/explog.py:log1p"),
    "logaddexp": Row("_math/explog.py:logaddexp"),
    "logical_and": Row("_logic/ops.py:logical_and"),
    "logical_not": Row("_logic/ops.py:logical_not"),
    "logical_or": Row("_logic/ops.py:logical_or"),
    "matmul": Row("_core/_routines_linalg.pyx:matmul", "no product of stacks of bfloat16 matrices"),
    "max": Row(_STATISTICS + "_ndarray_max", "no parameter initial or where"),
    "maximum": Row("_math/misc.py:maximum"),
    "may_share_memory": Row("_misc/memory_ranges.py:may_share_memory"),
    "mean": Row(_STATISTICS + "_ndarray_mean", "adds in another order", False),
    "meshgrid": Row("_creation/ranges.py:meshgrid"),
    "min": Row(_STATISTICS + "_ndarray_min", "no parameter initial or where"),
    "minimum": Row("_math/misc.py:minimum"),
    "moveaxis": Row("_manipulation/transpose.py:moveaxis"),
    "multiply": Row(_MATH + "_multiply"),
    "ndarray": Row(_CORE + "ndarray", "a hidden conversion to NumPy raises TypeError"),
    "ndtr": Row(
        "cupyx/scipy/special/_stats_distributions.py:ndtr",
        "float64 for float16, float32 for bfloat16",
    ),
    "negative": Row(_MATH + "_negative"),
    "not_equal": Row(_LOGIC + "_not_equal"),
    "ones": Row("_creation/basic.py:ones"),
    "pad": Row("_padding/pad.py:pad"),
    "power": Row(_MATH + "integral_power", "a negative power of an integer is 0, 1 or -1"),
    "prod": Row(_MATH + "_ndarray_prod", "no parameter initial or where"),
    "promote_types": Row("__init__.py:promote_types"),
    "remainder": Row(
        _MATH + "_remainder", "what the rounded quotient leaves: 1 % 0.1 is 0, 1 % inf is NaN"
    ),
    "repeat": Row(_SHAPE + "_repeat"),
    "reshape": Row(_SHAPE + "_ndarray_reshape"),
    "result_type": Row("__init__.py:result_type"),
    "rint": Row("_math/rounding.py:rint"),
    "roll": Row("_manipulation/rearrange.py:roll"),
    "round": Row(_CORE + "_round_ufunc", "no loop for bfloat16: float32"),
    "sign": Row("_math/misc.py:sign"),
    "sin": Row("_math/trigonometric.py:sin"),
    "sinh": Row("_math/hyperbolic.py:sinh"),
    "sliding_window_view": Row(
        "lib/stride_tricks.py:sliding_window_view", "the view can be written to"
    ),
    "sort": Row("cuda/thrust.pyx:sort", "NotImplementedError for bfloat16; only the kind 'stable'"),
    "sqrt": Row(_MATH + "_sqrt"),
    "square": Row("_math/misc.py:square"),
    "squeeze": Row("_manipulation/dims.py:squeeze"),
    "stack": Row(
        _SHAPE + "_concatenate_single_kernel",
        "copies the addresses of more than 8 small arrays of one dtype to the device",
    ),
    "subtract": Row(_MATH + "_subtract"),
    "sum": Row(_MATH + "_ndarray_sum", "adds in another order; no parameter initial or where"),
    "swapaxes": Row(_SHAPE + "_ndarray_swapaxes"),
    "take": Row(_INDEX + "_take", "an index out of range counts on from the other end"),
    "take_along_axis": Row(
        "_indexing/indexing.py:take_along_axis",
        "an index out of range counts on from the other end",
    ),
    "tanh": Row("_math/hyperbolic.py:tanh"),
    "transpose": Row(_SHAPE + "_ndarray_transpose"),
    "trunc": Row("_math/rounding.py:trunc"),
    "vdot": Row(
        "_core/_routines_linalg.pyx:tensordot_core",
        "products of 16 bits are rounded before they are added",
    ),
    "where": Row(
        "_sorting/search.py:_where_ufunc",
        "no loop for bfloat16: float32; the condition must be an array; without values the host "
        "reads how many there are",
    ),
    "zeros": Row("_creation/basic.py:zeros"),
}

#: Methods and properties of arrays.
METHODS = {
    "T": Row(_SHAPE + "_ndarray_transpose"),
    "all": Row(_LOGIC + "_ndarray_all"),
    "any": Row(_LOGIC + "_ndarray_any"),
    "argmax": FUNCTIONS["argmax"],
    "argmin": FUNCTIONS["argmin"],
    "argsort": FUNCTIONS["argsort"],
    "astype": Row(
        _CORE + "_astype", "floating-point numbers out of an integer's range become its ends, NaN 0"
    ),
    "base": Row(_CORE + "_ndarray_base.base"),
    "clip": FUNCTIONS["clip"],
    "copy": Row(_CORE + "copy"),
    "cumsum": FUNCTIONS["cumsum"],
    "data": Row(_CORE + "_ndarray_base.data", "an address on the device"),
    "device": Row(_CORE + "_ndarray_base.device", "the GPU, not a name"),
    "dot": FUNCTIONS["dot"],
    "dtype": Row(_CORE + "_ndarray_base.dtype"),
    "fill": Row(_CORE + "fill"),
    "flags": Row("_core/flags.pyx:Flags", "no writeable"),
    "flatten": Row(_SHAPE + "_ndarray_flatten"),
    "imag": Row(_MATH + "_ndarray_imag_getter"),
    "item": Row(_CORE + "item", "the host waits, and reads"),
    "itemsize": Row(_CORE + "_ndarray_base.itemsize"),
    "max": FUNCTIONS["max"],
    "mean": FUNCTIONS["mean"],
    "min": FUNCTIONS["min"],
    "nbytes": Row(_CORE + "_ndarray_base.nbytes"),
    "ndim": Row(_CORE + "_ndarray_base.ndim"),
    "prod": FUNCTIONS["prod"],
    "ravel": Row(_SHAPE + "_ndarray_ravel"),
    "real": Row(_MATH + "_ndarray_real_getter"),
    "repeat": FUNCTIONS["repeat"],
    "reshape": Row(_SHAPE + "_ndarray_reshape"),
    "round": FUNCTIONS["round"],
    "shape": Row(_CORE + "_ndarray_base.shape"),
    "size": Row(_CORE + "_ndarray_base.size"),
    "sort": FUNCTIONS["sort"],
    "squeeze": Row(_SHAPE + "_ndarray_squeeze"),
    "std": Row(_STATISTICS + "_std", "float64 for bfloat16", False),
    "strides": Row(_CORE + "_ndarray_base.strides"),
    "sum": FUNCTIONS["sum"],
    "swapaxes": Row(_SHAPE + "_ndarray_swapaxes"),
    "take": FUNCTIONS["take"],
    "tobytes": Row(_CORE + "tobytes", "the host waits, and reads"),
    "tolist": Row(_CORE + "tolist", "the host waits, and reads"),
    "transpose": Row(_SHAPE + "_ndarray_transpose"),
    "var": Row(_STATISTICS + "_var", "float64 for bfloat16", False),
    "view": Row(_CORE + "view"),
}

#: Operators, brackets and Python's functions on arrays.
OPERATORS = {
    "arithmetic": Row("_core/_kernel.pyx:guess_routine", "no warnings; results are C-contiguous"),
    "comparison": Row(_LOGIC + "create_comparison"),
    "in place": Row("_core/_kernel.pyx:_get_out_args_from_optionals"),
    "**": Row(_CORE + "__pow__", "bfloat16 ** 0.5 is float64"),
    "@": FUNCTIONS["matmul"],
    "x[i]": Row(
        _INDEX + "_prepare_multiple_array_indexing",
        "an index out of range counts on from the other end; of a mask the host reads how many "
        "places it names",
    ),
    "x[i] = y": Row(
        _INDEX + "_scatter_op_single",
        "which of several values a place keeps that is named twice is left open",
    ),
    "float, int, bool, str": Row(
        _CORE + "get", "the host waits, and reads: refused during capture"
    ),
    "len": Row(_CORE + "__len__"),
}

#: Names of CuPy besides arrays that the backend uses; test doubles are in ``fake_cuda.py``.
DEVICE = {
    "RawModule",
    "cuda.Device",
    "cuda.Event",
    "cuda.MemoryPool",
    "cuda.Stream",
    "cuda.alloc_pinned_memory",
    "cuda.cublas.getVersion",
    "cuda.device.get_cublas_handle",
    "cuda.get_current_stream",
    "cuda.get_elapsed_time",
    "cuda.runtime.getDeviceCount",
    "cuda.runtime.getDeviceProperties",
    "cuda.runtime.memGetInfo",
    "cuda.using_allocator",
    "get_default_memory_pool",
    "get_default_pinned_memory_pool",
    "ufunc",
}
