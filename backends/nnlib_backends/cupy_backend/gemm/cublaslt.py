"""Plans of cuBLASLt: descriptors and the algorithm for a problem, made once, and executed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nnlib_backends.cupy_backend.gemm.layout import Operand, Problem
from nnlib_backends.cupy_backend.gemm.tuning import Tuner
from nnlib_backends.dtypes import LOW_DTYPES

__all__ = ["COMPUTE_32F", "TYPES", "Addresses", "CublasLt", "Plan"]

#: Largest workspace in bytes, as NVIDIA recommends for Hopper.
WORKSPACE_BYTES = 32 << 20
#: Number of algorithms to request from the heuristic.
CANDIDATES = 8

#: dtype → cudaDataType_t.
TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}
#: cublasComputeType_t: sums in float32.
COMPUTE_32F = 68
_COMPUTE_32F_FAST_TF32, _COMPUTE_64F = 77, 70
_NOT_TRANSPOSED, _TRANSPOSED = 0, 1  # cublasOperation_t
_SUMS_IN_COMPUTE_TYPE = 2  # cublasLtReductionScheme_t, for partial sums


class Addresses(NamedTuple):
    """Addresses of a call's arrays.

    Attributes
    ----------
    a, b, out : int
    vector : int
        Of the epilogue's bias, or of its gradient.
    aux : int
        Of the activation's argument, which the epilogue stores.
    """

    a: int
    b: int
    out: int
    vector: int = 0
    aux: int = 0


class Plan:
    """Arguments of a call besides addresses.

    Attributes
    ----------
    algorithm : array
        cuBLASLt's description of the algorithm.
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
        ``workspace(stream, nbytes)``: address of a stream's workspace, which stays valid, because
        captured graphs keep it.
    tuner : Tuner, optional
        Chooses among the algorithms that the heuristic proposes; by default the first one.
    """

    def __init__(
        self, bindings: Any, workspace: Callable[[int, int], int], tuner: Tuner | None = None
    ) -> None:
        self._lt, self._workspace, self._tuner = bindings, workspace, tuner
        self._handle: int | None = None
        self._plans: dict[Problem, Plan | None] = {}
        self._lock = threading.Lock()  # a description has the vector's address of a single call
        # the host reads alpha and beta during the call
        self._numbers = {
            kind: (np.ones(1, kind), np.zeros(1, kind)) for kind in (np.float32, np.float64)
        }

    def has_plan(self, problem: Problem) -> bool:
        """Tell whether a problem has a plan; making one overwrites the result."""
        return problem in self._plans

    def run(self, problem: Problem, at: Addresses, stream: int, accumulate: bool = False) -> bool:
        """Compute a product of matrices at these addresses, or add it to the result.

        `accumulate` requires a plan, see `has_plan`.

        Returns
        -------
        bool
            False if cuBLASLt has no algorithm for it.
        """
        with self._lock:
            if problem not in self._plans:
                assert not accumulate
                self._plans[problem] = self._new_plan(problem, at, stream)
            plan = self._plans[problem]
            if plan is None:
                return False
            self._launch(plan, problem, at, stream, accumulate)
        return True

    def _launch(
        self, plan: Plan, problem: Problem, at: Addresses, stream: int, accumulate: bool
    ) -> None:
        self._point(plan.description, at)
        one, zero = self._numbers[np.float64 if problem.dtype == "float64" else np.float32]
        beta = one if accumulate else zero
        left, right, result = plan.layouts
        self._lt.matmul(
            self._handle, plan.description, one.ctypes.data, at.b, left, at.a, right,
            beta.ctypes.data, at.out, result, at.out, result,
            plan.algorithm["algo"].ctypes.data,
            self._workspace(stream, WORKSPACE_BYTES), WORKSPACE_BYTES, stream,
        )  # fmt: skip

    # Planning ----------------------------------------------------------------------------------

    def _new_plan(self, problem: Problem, at: Addresses, stream: int) -> Plan | None:
        if self._handle is None:
            self._handle = self._lt.create()
        description = self._new_description(problem, at)
        layouts = (
            self._layout(problem, problem.b, problem.columns, problem.inner),
            self._layout(problem, problem.a, problem.inner, problem.rows),
            self._layout(problem, problem.out, problem.columns, problem.rows, problem.out_dtype),
        )
        algorithms = self._algorithms(problem, description, layouts)
        if not algorithms:
            for layout in layouts:
                self._lt.matrix_layout_destroy(layout)
            self._lt.matmul_desc_destroy(description)
            return None
        plan = Plan(description, layouts, algorithms[0])
        if self._tuner is not None:

            def run(algorithm: Any) -> bool:
                plan.algorithm = algorithm
                try:
                    self._launch(plan, problem, at, stream, False)
                except self._lt.cuBLASLtError:  # a proposed algorithm can fail
                    return False
                return True

            plan.algorithm = self._tuner.choose(repr(problem), algorithms, run)
        return plan

    def _new_description(self, problem: Problem, at: Addresses) -> int:
        wide = problem.dtype == "float64"
        compute = _COMPUTE_32F_FAST_TF32 if problem.tf32 else COMPUTE_32F
        scale = TYPES["float64" if wide else "float32"]
        description: int = self._lt.matmul_desc_create(_COMPUTE_64F if wide else compute, scale)
        self._describe(description, "TRANSA", _operation(problem.b))
        self._describe(description, "TRANSB", _operation(problem.a))
        self._describe(description, "EPILOGUE", int(self._lt.Epilogue[problem.epilogue]))
        self._point(description, at)  # the heuristic reads the alignment of the addresses
        if at.aux:
            self._describe(description, "EPILOGUE_AUX_LD", problem.columns)
        return description

    def _layout(
        self, problem: Problem, operand: Operand, rows: int, columns: int, dtype: str | None = None
    ) -> int:
        """Describe a matrix in column-major order, before it is transposed."""
        if operand.transposed:
            rows, columns = columns, rows
        layout: int = self._lt.matrix_layout_create(
            TYPES[dtype or problem.dtype], rows, columns, operand.ld
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

    def _algorithms(
        self, problem: Problem, description: int, layouts: tuple[int, int, int]
    ) -> Sequence[Any]:
        """Return the algorithms of cuBLASLt's heuristic, the best one first."""
        preference = self._lt.matmul_preference_create()
        try:
            for name, value in _preferences(problem).items():
                attribute = self._lt.MatmulPreferenceAttribute[name]
                kind = self._lt.get_matmul_preference_attribute_dtype(attribute)
                buffer = np.array([value], kind)
                self._lt.matmul_preference_set_attribute(
                    preference, attribute, buffer.ctypes.data, buffer.nbytes
                )
            found = np.zeros(CANDIDATES, self._lt.matmul_heuristic_result_dtype)
            count = np.zeros(1, np.int32)
            left, right, result = layouts
            try:
                self._lt.matmul_algo_get_heuristic(
                    self._handle, description, left, right, result, result, preference,
                    CANDIDATES, found.ctypes.data, count.ctypes.data,
                )  # fmt: skip
            except self._lt.cuBLASLtError:  # CUBLAS_STATUS_NOT_SUPPORTED
                return []
            return [found[i : i + 1] for i in range(count[0]) if found["state"][i] == 0]
        finally:
            self._lt.matmul_preference_destroy(preference)

    def _point(self, description: int, at: Addresses) -> None:
        """Set the addresses of an epilogue's arrays."""
        if at.vector:
            self._describe(description, "BIAS_POINTER", at.vector)
        if at.aux:
            self._describe(description, "EPILOGUE_AUX_POINTER", at.aux)

    def _describe(self, description: int, name: str, value: int) -> None:
        attribute = self._lt.MatmulDescAttribute[name]
        buffer = np.array([value], self._lt.get_matmul_desc_attribute_dtype(attribute))
        self._lt.matmul_desc_set_attribute(
            description, attribute, buffer.ctypes.data, buffer.nbytes
        )


def _preferences(problem: Problem) -> dict[str, int]:
    """Return the limits of the search: workspace, alignments and reduction scheme."""
    wanted = {
        "MAX_WORKSPACE_BYTES": WORKSPACE_BYTES,
        "MIN_ALIGNMENT_A_BYTES": problem.b.alignment,
        "MIN_ALIGNMENT_B_BYTES": problem.a.alignment,
        "MIN_ALIGNMENT_C_BYTES": problem.out.alignment,
        "MIN_ALIGNMENT_D_BYTES": problem.out.alignment,
    }
    if problem.out_dtype in LOW_DTYPES:  # else partial sums may be rounded to 16 bits
        wanted["REDUCTION_SCHEME_MASK"] = _SUMS_IN_COMPUTE_TYPE
    return wanted


def _operation(operand: Operand) -> int:
    return _TRANSPOSED if operand.transposed else _NOT_TRANSPOSED
