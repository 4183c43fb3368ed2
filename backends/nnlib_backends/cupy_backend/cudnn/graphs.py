"""What all graphs of the cuDNN frontend have in common.

Nothing here needs CuPy, nor a GPU: cuDNN also plans for a GPU that is only described.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

__all__ = ["DTYPES", "Problem", "build", "candidates", "names"]

#: NumPy's name of a dtype → cuDNN's, for those with kernels that are worth having.
DTYPES = {"float32": "FLOAT", "float16": "HALF", "bfloat16": "BFLOAT16"}


class Problem(Protocol):
    """Something to plan; hashable, the key of the caches.

    Attributes
    ----------
    dtype : str
        Of its data.
    workspace_limit : int or None
        Bytes that a plan may ask for.
    """

    @property
    def dtype(self) -> str:
        """Name of a dtype in `DTYPES`."""

    workspace_limit: ClassVar[int | None]

    def add_to(self, graph: Any, cudnn: Any) -> None:
        """Add its tensors and operations to an empty graph."""

    def excluded(self, cudnn: Any) -> Sequence[Any]:
        """Return the numerical notes of kernels that must not be taken."""


def candidates(cudnn: Any, problem: Problem, **where: Any) -> Any:
    """Ask cuDNN which plans there are, the ones that it believes in first; none is built yet.

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
        Of the plan to take.  Where it cannot be had, or without one, it is the first that can be
        built.

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
            pass  # of another build of the same version, or excluded now
    graph.build_plans()
    return graph


def names(graph: Any) -> list[str]:
    """Return the names of a graph's plans: an engine and the values of all its knobs.

    The frontend can also rebuild a plan from an engine and a dictionary of knobs, but knobs that
    it has no names for share one key there.
    """
    return [graph.get_plan_name_at_index(i) for i in range(graph.get_execution_plan_count())]
