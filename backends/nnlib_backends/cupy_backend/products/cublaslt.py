"""Plans of cuBLASLt: descriptors and the algorithm for a problem, made once, run often."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from nnlib_backends.cupy_backend.products.layout import Operand, Problem

__all__ = ["CublasLt", "Plan"]

#: Bytes that an algorithm may use for partial sums: NVIDIA's advice for Hopper.
WORKSPACE_BYTES = 32 << 20

# cudaDataType_t and cublasComputeType_t
_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
_COMPUTE_32F, _COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 68, 77, 70
_NOT_TRANSPOSED, _TRANSPOSED = 0, 1  # cublasOperation_t


class Plan:
    """What a call needs besides addresses.

    Attributes
    ----------
    algorithm : array
        Holds cuBLASLt's description of the algorithm.
    """

    def __init__(self, description: int, layouts: tuple[int, int, int], algorithm: Any) -> None:
        self.description, self.layouts, self.algorithm = description, layouts, algorithm


class CublasLt:
    """Runs problems on one GPU.

    Parameters
    ----------
    bindings : module
        ``nvmath.bindings.cublasLt``.
    workspace : callable
        ``workspace(stream, nbytes)``: address of memory for that stream's products, which stays
        theirs: a graph that was captured has the address.
    """

    def __init__(self, bindings: Any, workspace: Callable[[int, int], int]) -> None:
        self._lt, self._workspace = bindings, workspace
        self._handle: int | None = None
        self._plans: dict[Problem, Plan | None] = {}
        self._lock = threading.Lock()  # a description holds the bias of one call at a time
        # alpha and beta are read by the host during the call
        self._numbers = {
            kind: (np.ones(1, kind), np.zeros(1, kind)) for kind in (np.float32, np.float64)
        }

    def run(self, problem: Problem, a: int, b: int, out: int, stream: int, bias: int = 0) -> bool:
        """Compute a product of matrices at these addresses.

        Returns
        -------
        bool
            False if cuBLASLt has no algorithm for it, and nothing was done.
        """
        with self._lock:
            plan = self._plan(problem, bias)
            if plan is None:
                return False
            if bias:
                self._describe(plan.description, "BIAS_POINTER", bias)
            one, zero = self._numbers[np.float64 if problem.dtype == "float64" else np.float32]
            beta = one if problem.accumulate else zero
            left, right, result = plan.layouts
            self._lt.matmul(
                self._handle, plan.description, one.ctypes.data, b, left, a, right,
                beta.ctypes.data, out, result, out, result, plan.algorithm["algo"].ctypes.data,
                self._workspace(stream, WORKSPACE_BYTES), WORKSPACE_BYTES, stream,
            )  # fmt: skip
        return True

    # Planning ----------------------------------------------------------------------------------

    def _plan(self, problem: Problem, bias: int) -> Plan | None:
        if problem not in self._plans:
            if self._handle is None:
                self._handle = self._lt.create()
            self._plans[problem] = self._new_plan(problem, bias)
        return self._plans[problem]

    def _new_plan(self, problem: Problem, bias: int) -> Plan | None:
        wide = problem.dtype == "float64"
        compute = _COMPUTE_32F_FAST_TF32 if problem.tf32 else _COMPUTE_32F
        scale = _TYPES["float64" if wide else "float32"]
        description = self._lt.matmul_desc_create(_COMPUTE_64F if wide else compute, scale)
        self._describe(description, "TRANSA", _operation(problem.b))
        self._describe(description, "TRANSB", _operation(problem.a))
        if problem.epilogue:
            self._describe(description, "EPILOGUE", self._epilogue(problem.epilogue))
        if bias:
            self._describe(description, "BIAS_POINTER", bias)
        layouts = (
            self._layout(problem, problem.b, problem.columns, problem.inner),
            self._layout(problem, problem.a, problem.inner, problem.rows),
            self._layout(problem, problem.out, problem.columns, problem.rows),
        )
        algorithm = self._algorithm(problem, description, layouts)
        if algorithm is None:
            for layout in layouts:
                self._lt.matrix_layout_destroy(layout)
            self._lt.matmul_desc_destroy(description)
            return None
        return Plan(description, layouts, algorithm)

    def _layout(self, problem: Problem, operand: Operand, rows: int, columns: int) -> int:
        """Describe a matrix as cuBLASLt reads it: column by column, before it is transposed."""
        if operand.transposed:
            rows, columns = columns, rows
        layout: int = self._lt.matrix_layout_create(
            _TYPES[problem.dtype], rows, columns, operand.ld
        )
        if problem.batch > 1:
            values = {"BATCH_COUNT": problem.batch, "STRIDED_BATCH_OFFSET": operand.step}
            for name, value in values.items():
                attribute = self._lt.MatrixLayoutAttribute[name]
                kind = self._lt.get_matrix_layout_attribute_dtype(attribute)
                buffer = np.array([value], kind)
                self._lt.matrix_layout_set_attribute(
                    layout, attribute, buffer.ctypes.data, buffer.nbytes
                )
        return layout

    def _algorithm(self, problem: Problem, description: int, layouts: tuple[int, int, int]) -> Any:
        """Return what cuBLASLt's heuristic likes best."""
        preference = self._lt.matmul_preference_create()
        try:
            for name, value in {
                "MAX_WORKSPACE_BYTES": WORKSPACE_BYTES,
                "MIN_ALIGNMENT_A_BYTES": problem.b.alignment,
                "MIN_ALIGNMENT_B_BYTES": problem.a.alignment,
                "MIN_ALIGNMENT_C_BYTES": problem.out.alignment,
                "MIN_ALIGNMENT_D_BYTES": problem.out.alignment,
            }.items():
                attribute = self._lt.MatmulPreferenceAttribute[name]
                kind = self._lt.get_matmul_preference_attribute_dtype(attribute)
                buffer = np.array([value], kind)
                self._lt.matmul_preference_set_attribute(
                    preference, attribute, buffer.ctypes.data, buffer.nbytes
                )
            found = np.zeros(1, self._lt.matmul_heuristic_result_dtype)
            count = np.zeros(1, np.int32)
            left, right, result = layouts
            try:
                self._lt.matmul_algo_get_heuristic(
                    self._handle, description, left, right, result, result, preference, 1,
                    found.ctypes.data, count.ctypes.data,
                )  # fmt: skip
            except self._lt.cuBLASLtError:  # CUBLAS_STATUS_NOT_SUPPORTED
                return None
            return found if count[0] and found["state"][0] == 0 else None
        finally:
            self._lt.matmul_preference_destroy(preference)

    def _describe(self, description: int, name: str, value: int) -> None:
        attribute = self._lt.MatmulDescAttribute[name]
        buffer = np.array([value], self._lt.get_matmul_desc_attribute_dtype(attribute))
        self._lt.matmul_desc_set_attribute(
            description, attribute, buffer.ctypes.data, buffer.nbytes
        )

    def _epilogue(self, epilogue: str) -> int:
        parts = set(epilogue.split("+"))
        activation = "".join(part.upper() for part in parts - {"bias"})
        name = f"{activation}_BIAS" if activation and "bias" in parts else activation or "BIAS"
        return int(self._lt.Epilogue[name])


def _operation(operand: Operand) -> int:
    return _TRANSPOSED if operand.transposed else _NOT_TRANSPOSED
