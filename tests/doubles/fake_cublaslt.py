"""A test double of ``nvmath.bindings.cublasLt`` that computes on the host by its descriptors.

Like the library it reads column-major matrices by dimensions, leading dimension and batch stride,
and raises the library's errors.
"""

import ctypes
import math
from enum import IntEnum
from types import SimpleNamespace

import ml_dtypes
import numpy as np

from nnlib_backends.cupy_backend.gemm.cublaslt import CublasLt
from nnlib_backends.cupy_backend.gemm.half_gemm import make_gemm
from nnlib_backends.cupy_backend.gemm.matmul import CublasGemm
from nnlib_backends.cupy_backend.kernels.launch import Launcher
from nnlib_backends.dtypes import LOW_DTYPES

_DTYPES = {0: np.float32, 1: np.float64, 2: np.float16, 14: ml_dtypes.bfloat16}


class MatmulDescAttribute(IntEnum):
    TRANSA, TRANSB, EPILOGUE, BIAS_POINTER = 3, 4, 7, 8
    EPILOGUE_AUX_POINTER, EPILOGUE_AUX_LD = 11, 12


class MatrixLayoutAttribute(IntEnum):
    BATCH_COUNT, STRIDED_BATCH_OFFSET = 5, 6


class MatmulPreferenceAttribute(IntEnum):
    MAX_WORKSPACE_BYTES, REDUCTION_SCHEME_MASK = 1, 3
    MIN_ALIGNMENT_A_BYTES, MIN_ALIGNMENT_B_BYTES = 5, 6
    MIN_ALIGNMENT_C_BYTES, MIN_ALIGNMENT_D_BYTES = 7, 8


class Epilogue(IntEnum):
    DEFAULT, RELU, BIAS, RELU_BIAS, GELU, GELU_BIAS = 1, 2, 4, 6, 32, 36
    GELU_AUX, GELU_AUX_BIAS, BGRADB = 160, 164, 512


_AUX = 128


class cuBLASLtError(Exception):
    pass


class CublasLtDouble:
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
        self.refuse = ""  # "error", "none": the heuristic finds nothing; or epilogues, by name
        self.proposals = [0]  # the states of the algorithms that the heuristic proposes
        self.broken = set()  # positions of the proposals that do not run

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
        wide = dict.fromkeys((8, 11, 12), np.int64)
        return {**wide, 7: np.uint32}.get(int(attribute), np.int32)

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
        what = self.objects[description]
        self._check_types(*(self.objects[layout].kind for layout in (left, right, c, d)))
        epilogue = Epilogue(what.attributes["EPILOGUE"])
        if self.refuse == "error" or epilogue.name in self.refuse.split():
            raise cuBLASLtError("CUBLAS_STATUS_NOT_SUPPORTED")
        if epilogue & _AUX and what.attributes["EPILOGUE_AUX_LD"] % 8:
            raise cuBLASLtError("CUBLAS_STATUS_NOT_SUPPORTED")
        self.plans += 1
        self.preference = wishes = dict(self.objects[preference].attributes)
        what.alignments = self.alignments = [
            wishes[f"MIN_ALIGNMENT_{name}_BYTES"] for name in "ABCD"
        ]
        kind = self.matmul_heuristic_result_dtype
        memory = (ctypes.c_char * (wanted * kind.itemsize)).from_address(results)
        found = min(wanted, len(self.proposals)) if self.refuse != "none" else 0
        for i, array in enumerate(np.frombuffer(memory, kind)[:found]):
            array["algo"]["data_"] = 100 * self.plans + i
            array["state"] = self.proposals[i]
        ctypes.c_int32.from_address(count).value = found

    @staticmethod
    def _check_types(left, right, c, d):
        assert left == right
        assert c == d
        assert d == left or (d == 0 and left in (2, 14)), "no such product"

    # The product

    def matmul(
        self, handle, description, alpha, a, adesc, b, bdesc, beta, c, cdesc, d, ddesc, algo,
        workspace, workspace_bytes, stream,
    ):  # fmt: skip
        assert c == d
        assert cdesc == ddesc
        if ctypes.c_uint64.from_address(algo).value % 100 in self.broken:
            raise cuBLASLtError("CUBLAS_STATUS_INVALID_VALUE")
        what = self.objects[description]
        for address, alignment in zip((a, b, c, d), what.alignments, strict=True):
            assert address % min(alignment, 16) == 0
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
        left, right = left.astype(wide), right.astype(wide)
        value = alpha * (left @ right)
        assert value.shape == out.shape
        if beta:
            value += beta * out.astype(wide)
        epilogue = Epilogue(options["EPILOGUE"])
        out[...] = self._after(epilogue, value, right, out.dtype, options)
        self.calls.append(
            SimpleNamespace(
                compute=what.compute, batch=out.shape[0], epilogue=epilogue.name, beta=beta,
                transposed=(options["TRANSA"], options["TRANSB"]), stream=stream,
                workspace=(workspace, workspace_bytes),
                algorithm=ctypes.c_uint64.from_address(algo).value,
                dtypes=(np.dtype(_DTYPES[self.objects[adesc].kind]).name, out.dtype.name),
            )
        )  # fmt: skip

    @staticmethod
    def _after(epilogue, value, right, dtype, options):
        """Apply an epilogue to a value (batch, rows, columns)."""
        if epilogue & Epilogue.BIAS:
            bias = _memory(options["BIAS_POINTER"], value.shape[1], dtype)
            value = value + bias.astype(value.dtype)[:, None]
        if epilogue & Epilogue.BGRADB:
            sums = _memory(options["BIAS_POINTER"], value.shape[2], dtype)
            sums[...] = right.sum(axis=1)[0]
        if epilogue & _AUX:
            _, rows, columns = value.shape
            aux = _memory(
                options["EPILOGUE_AUX_POINTER"], options["EPILOGUE_AUX_LD"] * columns, dtype
            )
            aux.reshape(columns, -1)[:, :rows] = value[0].T
        if epilogue & Epilogue.RELU:
            value = np.where(value < 0, 0, value)
        return _gelu(value) if epilogue & Epilogue.GELU else value

    def _matrices(self, address, number):
        layout = self.objects[number]
        batch = layout.attributes.get("BATCH_COUNT", 1)
        step = layout.attributes.get("STRIDED_BATCH_OFFSET", 0)
        return _by_columns(
            address, layout.kind, layout.rows, layout.columns, layout.ld, batch, step
        )


def _by_columns(address, kind, rows, columns, ld, batch=1, step=0):
    """Return column-major matrices at an address."""
    assert ld >= max(rows, 1)
    dtype = np.dtype(_DTYPES[kind])
    memory = _memory(address, (batch - 1) * step + (columns - 1) * ld + rows, dtype)
    strides = [n * dtype.itemsize for n in (step, 1, ld)]
    return np.lib.stride_tricks.as_strided(memory, (batch, rows, columns), strides)


def _memory(address, count, dtype):
    dtype = np.dtype(dtype)
    return np.frombuffer((ctypes.c_char * (count * dtype.itemsize)).from_address(address), dtype)


def _gelu(z):
    u = math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)
    return z * 0.5 * (1 + np.tanh(u))


def _gelu_derivative(z):
    u = math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)
    slope = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)
    return 0.5 * (1 + np.tanh(u)) + 0.5 * z * slope / np.cosh(np.clip(u, -40, 40)) ** 2


class DriverDouble:
    """A test double of the driver for ``epilogue.cu`` and GELU of ``elementwise.cu``."""

    def __init__(self):
        self.log = []

    def launch(self, file, kernel, dtype, grid, args):
        if file == "elementwise":
            self._gelu_tanh_forward(kernel, *args)
        else:
            assert file == "epilogue"
            self._columns(kernel, dtype, *args)
        self.log.append((kernel, dtype))

    @staticmethod
    def _gelu_tanh_forward(kernel, z, y, count):
        assert kernel == "gelu_tanh_forward"
        assert z.size == y.size == count
        y[...] = _gelu(z.astype(np.promote_types(z.dtype, np.float32)))

    def _columns(self, kernel, dtype, *args):
        *arrays, code, rows, columns = args
        data, *others = (None if a is None else self._matrix(a, columns) for a in arrays)
        assert data.shape == (rows, columns)
        assert data.dtype.name == dtype
        wide = np.float64 if dtype == "float64" else np.float32
        getattr(self, f"_{kernel}")(code, wide, data, *others)

    @staticmethod
    def _matrix(array, columns):
        assert array.flags.c_contiguous
        return array.reshape(-1, columns)

    @staticmethod
    def _bias_activation(code, wide, y, bias):
        assert bias is None or bias.dtype == wide
        z = y.astype(wide) + (0 if bias is None else bias)
        y[...] = [
            lambda: z, lambda: np.maximum(z, 0), lambda: np.tanh(z), lambda: 1 / (1 + np.exp(-z)),
        ][code]()  # fmt: skip

    @staticmethod
    def _bias_gradient(code, wide, g, y, d, sums):
        assert sums.dtype == wide
        value = g.astype(wide)
        if y is not None:
            y = y.astype(wide)
            value = value * [
                lambda: 1, lambda: y > 0, lambda: 1 - y * y, lambda: y * (1 - y),
                lambda: _gelu_derivative(y),
            ][code]()  # fmt: skip
            d[...] = value
        sums[...] = 0
        sums[0] = value.sum(axis=0)


class CudaDouble:
    """A test double of ``cupy.cuda`` for a GEMM by cuBLAS."""

    def __init__(self):
        self.cublas = self.device = self
        self.calls = []

    def get_cublas_handle(self):
        return 11

    def gemmEx(
        self, handle, trans_a, trans_b, m, n, k, alpha, a, a_kind, lda, b, b_kind, ldb, beta,
        c, c_kind, ldc, compute, algorithm,
    ):  # fmt: skip
        assert (handle, a_kind, compute, algorithm) == (11, b_kind, 68, -1)
        CublasLtDouble._check_types(a_kind, b_kind, c_kind, c_kind)
        left = _by_columns(a, a_kind, *((k, m) if trans_a else (m, k)), lda)[0]
        right = _by_columns(b, b_kind, *((n, k) if trans_b else (k, n)), ldb)[0]
        left, right = left.T if trans_a else left, right.T if trans_b else right
        alpha, beta = (ctypes.c_float.from_address(x).value for x in (alpha, beta))
        assert (alpha, beta) == (1, 0)
        out = _by_columns(c, c_kind, m, n, ldc)[0]
        out[...] = left.astype(np.float32) @ right.astype(np.float32)
        self.calls.append((trans_a, trans_b))


class World:
    """NumPy in place of CuPy, and GEMM by the test double; counts copies and fallbacks."""

    def __init__(self, tuner=None, cublaslt=True):
        self.lt, self.copies, self.tf32 = CublasLtDouble(), 0, False
        self.fallbacks, self.cuda = [], CudaDouble()
        self.products = CublasGemm(
            CublasLt(self.lt, lambda stream, nbytes: 7000 + stream, tuner) if cublaslt else None,
            self,
            pointer=lambda array: array.ctypes.data,
            stream=lambda: 5,
            tf32=lambda: self.tf32,
            gemm=make_gemm(self.cuda, lambda array: array.ctypes.data),
        )
        self.driver = DriverDouble()
        self.launcher = Launcher(self, self.driver)

    # CuPy's names

    def __getattr__(self, name):
        return getattr(np, name)

    def empty(self, shape, dtype):
        """Allocate memory filled with NaN, at a multiple of 16 bytes."""
        count = math.prod(shape) * np.dtype(dtype).itemsize
        memory = np.full(count + 16, 0xFF, np.uint8)
        start = -memory.ctypes.data % 16
        return memory[start : start + count].view(dtype).reshape(shape)

    def ascontiguousarray(self, array):
        self.copies += not array.flags.c_contiguous
        return np.ascontiguousarray(array)

    def matmul(self, a, b, out=None):
        """Multiply half matrices as CuPy 14.2 does."""
        self.fallbacks.append((a.dtype.name, a.shape, b.shape))
        dtype = np.promote_types(a.dtype, b.dtype)
        if {a.dtype.name, b.dtype.name}.isdisjoint(LOW_DTYPES):
            return np.matmul(a, b, out=out)
        assert max(a.ndim, b.ndim) <= 2, "CuPy converts a batch first, or cannot multiply it"
        result = np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(dtype)
        if result.size == 1:
            result[...] = (a.ravel() * b.ravel()).sum()
        if out is None:
            return result
        out[...] = result  # also where ``out`` is float32
        return out

    def vdot(self, a, b):
        return (a * b).sum()
