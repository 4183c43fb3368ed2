"""Planning graphs of the cuDNN frontend.

Nothing here needs CuPy or a GPU: cuDNN also plans for a description of a GPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

__all__ = ["DTYPES", "Problem", "build", "candidates", "names"]

#: NumPy's name of a dtype → cuDNN's, for dtypes with fast kernels.
DTYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}


class Problem(Protocol):
    """A problem to plan; hashable, because it is the key of the caches.

    Attributes
    ----------
    dtype : str
        Of the data.
    workspace_limit : int or None
        Largest workspace of a plan, in bytes.
    """

    @property
    def dtype(self) -> str:
        """Name of a dtype in `DTYPES`."""

    workspace_limit: ClassVar[int | None]

    def add_to(self, graph: Any, cudnn: Any) -> None:
        """Add its tensors and operations to an empty graph."""

    def excluded(self, cudnn: Any) -> Sequence[Any]:
        """Return the numerical notes of kernels that must not be used."""


def candidates(cudnn: Any, problem: Problem, **where: Any) -> Any:
    """Return a graph with cuDNN's plans, not built, in the order of its heuristic.

    Parameters
    ----------
    cudnn : module
        The frontend.
    problem : Problem
    **where
        ``handle=…`` of a GPU, or ``device_property=…, sm_version=…`` to plan without one.

    Returns
    -------
    cudnn.pygraph

    Raises
    ------
    cudnn.cudnnGraphNotSupportedError
        If cuDNN has no kernel for it.
    """
    float32 = cudnn.data_type.FLOAT
    graph = cudnn.pygraph(
        io_data_type=getattr(cudnn.data_type, DTYPES[problem.dtype]),
        intermediate_data_type=float32,
        compute_data_type=float32,
        **where,
    )
    problem.add_to(graph, cudnn)
    graph.validate()
    graph.build_operation_graph()
    graph.create_execution_plans([cudnn.heur_mode.A, cudnn.heur_mode.FALLBACK])
    graph.deselect_numeric_notes(list(problem.excluded(cudnn)))
    if problem.workspace_limit is not None:
        graph.deselect_workspace_greater_than(problem.workspace_limit)
    graph.check_support()
    return graph


def build(cudnn: Any, problem: Problem, name: str | None = None, **where: Any) -> Any:
    """Plan a problem.

    Parameters
    ----------
    cudnn, problem, **where
        See `candidates`.
    name : str, optional
        Name of the plan; by default, or if it cannot be built, the first that can be built.

    Returns
    -------
    cudnn.pygraph
        Ready to execute.

    Raises
    ------
    cudnn.cudnnGraphNotSupportedError
        If cuDNN has no kernel for it.
    """
    graph = candidates(cudnn, problem, **where)
    known = names(graph)
    if name in known:
        try:
            return graph.build_plan_at_index(known.index(name))
        except cudnn.cudnnGraphNotSupportedError:
            pass  # from another build of the same version, or excluded
    graph.build_plans()
    return graph


def names(graph: Any) -> list[str]:
    """Return the names of a graph's plans: an engine and the values of all its knobs.

    The frontend's dictionary of knobs does not identify a plan: unnamed knobs share one key.
    """
    return [graph.get_plan_name_at_index(i) for i in range(graph.get_execution_plan_count())]
