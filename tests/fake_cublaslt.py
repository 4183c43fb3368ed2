"""A double of ``nvmath.bindings.cublasLt`` that computes what its descriptors say, on the host.

It knows no row-major matrices: it reads memory by dimensions, leading dimension and batch stride,
column by column, as the library does, and refuses what the library refuses.
"""

import ctypes
import math
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

from nnlib_backends.cupy_backend.products.cublaslt import CublasLt
from nnlib_backends.cupy_backend.products.products import Products

_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}


class MatmulDescAttribute(IntEnum):
    TRANSA, TRANSB, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8


class MatrixLayoutAttribute(IntEnum):
    BATCH_COUNT, STRIDED_BATCH_OFFSET = 5, 6


class MatmulPreferenceAttribute(IntEnum):
    MAX_WORKSPACE_BYTES = 1
    MIN_ALIGNMENT_A_BYTES, MIN_ALIGNMENT_B_BYTES = 5, 6
    MIN_ALIGNMENT_C_BYTES, MIN_ALIGNMENT_D_BYTES = 7, 8


class Epilogue(IntEnum):
    DEFAULT, RELU, BIAS, RELU_BIAS, GELU, GELU_BIAS = 1, 2, 4, 6, 32, 36


class cuBLASLtError(Exception):
    pass


class FakeCublasLt:
    MatmulDescAttribute = MatmulDescAttribute
    MatrixLayoutAttribute = MatrixLayoutAttribute
    MatmulPreferenceAttribute = MatmulPreferenceAttribute
    Epilogue = Epilogue
    cuBLASLtError = cuBLASLtError  # noqa: N815
    matmul_heuristic_result_dtype = np.dtype(
        [("algo", [("data_", "<u8", (8,))]), ("workspace_size", "<u8"), ("state", "<i4"),
         ("waves_count", "<f4"), ("reserved", "<i4", (4,))]
    )  # fmt: skip

    def __init__(self):
        self.objects, self.calls, self.plans, self.destroyed = {}, [], 0, 0
        self.refuse = ""  # "error", "none": the heuristic finds nothing; "epilogue": with one

    # Descriptors

    def _new(self, **values):
        number = 1000 + len(self.objects)
        self.objects[number] = SimpleNamespace(attributes={}, **values)
        return number

    def create(self):
        return self._new()

    def matmul_desc_create(self, compute, scale):
        return self._new(compute=compute, scale=scale)

    def matrix_layout_create(self, kind, rows, columns, ld):
        assert ld >= max(rows, 1), "the leading dimension is too small"
        return self._new(kind=kind, rows=rows, columns=columns, ld=ld)

    def matmul_preference_create(self):
        return self._new()

    @staticmethod
    def get_matmul_desc_attribute_dtype(attribute):
        return {8: np.int64, 7: np.uint32}.get(int(attribute), np.int32)

    @staticmethod
    def get_matrix_layout_attribute_dtype(attribute):
        return {5: np.int32, 6: np.int64}[int(attribute)]

    @staticmethod
    def get_matmul_preference_attribute_dtype(attribute):
        return {1: np.uint64}.get(int(attribute), np.uint32)

    def _set(self, number, attribute, address, nbytes):
        kind = {8: ctypes.c_int64, 4: ctypes.c_int32}[nbytes]
        self.objects[number].attributes[attribute.name] = kind.from_address(address).value

    matmul_desc_set_attribute = matrix_layout_set_attribute = _set
    matmul_preference_set_attribute = _set

    def _destroy(self, number):
        del self.objects[number]
        self.objects[-number] = None  # so that numbers stay unique
        self.destroyed += 1

    matmul_desc_destroy = matrix_layout_destroy = matmul_preference_destroy = _destroy

    def matmul_algo_get_heuristic(
        self, handle, description, left, right, c, d, preference, wanted, results, count
    ):
        assert wanted == 1
        if self.refuse == "error":
            raise cuBLASLtError("CUBLAS_STATUS_NOT_SUPPORTED")
        if self.refuse == "epilogue" and "EPILOGUE" in self.objects[description].attributes:
            raise cuBLASLtError("CUBLAS_STATUS_NOT_SUPPORTED")
        self.plans += 1
        wanted = self.objects[preference].attributes
        self.alignments = [wanted[f"MIN_ALIGNMENT_{name}_BYTES"] for name in "ABCD"]
        found = (ctypes.c_char * self.matmul_heuristic_result_dtype.itemsize).from_address(results)
        array = np.frombuffer(found, self.matmul_heuristic_result_dtype)
        array["algo"]["data_"] = self.plans
        array["state"] = 0
        ctypes.c_int32.from_address(count).value = int(self.refuse != "none")

    # The product

    def matmul(
        self, handle, description, alpha, a, adesc, b, bdesc, beta, c, cdesc, d, ddesc, algo,
        workspace, workspace_bytes, stream,
    ):  # fmt: skip
        assert c == d
        assert cdesc == ddesc
        for address, alignment in zip((a, b, c, d), self.alignments, strict=True):
            assert address % min(alignment, 16) == 0 or self.plans > 1
        assert ctypes.c_uint64.from_address(algo).value > 0
        what = self.objects[description]
        options = what.attributes
        scale = {0: ctypes.c_float, 1: ctypes.c_double}[what.scale]
        alpha, beta = scale.from_address(alpha).value, scale.from_address(beta).value
        left, right = self._matrices(a, adesc), self._matrices(b, bdesc)
        out = self._matrices(d, ddesc)
        if options["TRANSA"]:
            left = left.swapaxes(1, 2)
        if options["TRANSB"]:
            right = right.swapaxes(1, 2)
        wide = np.float64 if what.scale == 1 else np.float32
        value = alpha * (left.astype(wide) @ right.astype(wide))
        assert value.shape == out.shape
        if beta:
            value += beta * out
        epilogue = Epilogue(options.get("EPILOGUE", 1))
        if epilogue & Epilogue.BIAS:
            rows = out.shape[1]
            bias = _memory(options["BIAS_POINTER"], rows, out.dtype)
            value += bias[:, None]
        if epilogue & Epilogue.RELU:
            value = np.maximum(value, 0)
        if epilogue & Epilogue.GELU:
            value *= 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))
        out[...] = value
        self.calls.append(
            SimpleNamespace(
                compute=what.compute, batch=out.shape[0], epilogue=epilogue.name, beta=beta,
                transposed=(options["TRANSA"], options["TRANSB"]), stream=stream,
                workspace=(workspace, workspace_bytes),
            )
        )  # fmt: skip

    def _matrices(self, address, number):
        layout = self.objects[number]
        dtype = np.dtype(_DTYPES[layout.kind])
        batch = layout.attributes.get("BATCH_COUNT", 1)
        step = layout.attributes.get("STRIDED_BATCH_OFFSET", 0)
        count = (batch - 1) * step + (layout.columns - 1) * layout.ld + layout.rows
        memory = _memory(address, count, dtype)
        strides = [n * dtype.itemsize for n in (step, 1, layout.ld)]
        shape = (batch, layout.rows, layout.columns)
        return np.lib.stride_tricks.as_strided(memory, shape, strides)


def _memory(address, count, dtype):
    dtype = np.dtype(dtype)
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype)


class World:
    """NumPy in the place of CuPy, and products with the double; counts what should not happen."""

    def __init__(self):
        self.lt, self.copies, self.tf32 = FakeCublasLt(), 0, False
        self.fallbacks = []
        self.products = Products(
            CublasLt(self.lt, lambda stream, nbytes: 7000 + stream),
            self,
            pointer=lambda array: array.ctypes.data,
            stream=lambda: 5,
            tf32=lambda: self.tf32,
        )

    # CuPy's names

    def __getattr__(self, name):
        return getattr(np, name)

    def ascontiguousarray(self, array):
        self.copies += not array.flags.c_contiguous
        return np.ascontiguousarray(array)

    def matmul(self, a, b, **options):
        self.fallbacks.append(("matmul", a.shape, b.shape))
        return np.matmul(a, b, **options)
