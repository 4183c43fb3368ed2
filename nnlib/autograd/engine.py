"""The backward pass: the chain rule over the tape.

Each result on the tape has a `Node`, which holds the nodes of its inputs and the rule that turns
the gradient by the result into the gradients by the inputs.  Nodes are numbered in the order of
their creation, so descending numbers are a topological order.  The pass is a loop, not a recursion:
the length of a chain of operations is not limited.
"""

from __future__ import annotations

import heapq
import weakref
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import Any

from nnlib.autograd.mode import is_grad_enabled, low
from nnlib.autograd.node import Gradient, Node
from nnlib.autograd.tensor import Tensor
from nnlib.errors import GradientError, describe
from nnlib.memory import out_of_memory
from nnlib.ops.reduction import unbroadcast
from nnlib.ops.shaping import astype
from nnlib.tracing import current, perform
from nnlib_backends.base import Array
from nnlib_backends.dtypes import tf32_allowed
from nnlib_backends.locks import lock_of_an_object

_NO_SCOPE = nullcontext()


def backward(
    roots: Iterable[tuple[Node, Gradient]],
    targets: Iterable[Node] | None = None,
    *,
    retain_graph: bool = False,
    stop_at_targets: bool = False,
) -> dict[Node, Gradient]:
    """Propagate gradients from the roots back through the tape.

    Parameters
    ----------
    roots : pairs (node, gradient)
        Results and the gradients by them: arrays, or tensors to put the pass itself on the tape.
    targets : nodes, optional
        Compute only the gradients by these, and change no ``grad``.
    retain_graph : bool
        Keep the arrays of the nodes for another pass.
    stop_at_targets : bool
        Do not propagate through a target: partial instead of total derivatives.

    Returns
    -------
    dict
        Target → gradient; empty without targets.
    """
    gradients: dict[Node, Gradient] = {}
    for node, gradient in roots:
        gradients[node] = gradients[node] + gradient if node in gradients else gradient
    if not gradients:
        return {}
    wanted = None if targets is None else set(targets)
    useful = None if wanted is None else _between(gradients, wanted, stop_at_targets)
    results: dict[Node, Gradient] = {}
    # Ids of arrays that other code may hold: none of them may become a leaf's grad.
    handed_out: set[int] = set()
    queue: list[tuple[int, Node]] = []  # latest first
    for node, g in gradients.items():
        handed_out.add(id(_bare(g)))
        heapq.heappush(queue, (-node.number, node))
    left_over: list[tuple[Node, Gradient]] = []
    root, first = queue[0][1], False
    # Rules compute in the dtypes of their arguments, with TF32 if the root was computed with it.
    outer, allowed = low.set(None), tf32_allowed.set(root.tf32)
    try:
        # The pass that holds the lock accumulates gradients as it goes, others at their end: so the
        # passes of several threads through one model add up, and do not wait for each other's
        # hooks.  While tracing, a pass waits for the lock: all traces must be the same.
        first = wanted is None and _leaving.acquire(blocking=current() is not None)
        with root.backend.scope or _NO_SCOPE:  # a whole graph lives on one backend
            while queue:
                node = heapq.heappop(queue)[1]
                g = gradients.pop(node)
                if node.hooks:
                    g = _run_hooks(node, g)
                    handed_out.add(id(_bare(g)))
                if wanted is None:
                    if node.keep_grad and first:
                        _accumulate(node, g, handed_out)
                    elif node.keep_grad:
                        left_over.append((node, g))
                elif node in wanted:
                    results[node] = g
                    if stop_at_targets:
                        continue
                if not node.inputs:
                    continue
                for source, share in node.pull_back(g, first):
                    if source is None or (useful is not None and source not in useful):
                        continue
                    if share.shape != source.shape or share.dtype != source.dtype:
                        share = _fit(share, source)
                    if source not in gradients:
                        gradients[source] = share
                        heapq.heappush(queue, (-source.number, source))
                        if first and source.grad_buffer is not None:
                            source.grad_buffer_claimed = True  # later gradients must be added
                    elif (
                        source.grad_buffer_claimed
                        and _bare(gradients[source]) is source.grad_buffer
                    ):
                        # a kernel has written the first gradient there
                        perform(_add, source.grad_buffer, _bare(share))
                    else:
                        gradients[source] = gradients[source] + share
                if not retain_graph:
                    node.release()
            if left_over:
                with _leaving:
                    for node, g in left_over:
                        _accumulate(node, g, handed_out)
    except MemoryError as error:
        raise out_of_memory(error, root.backend, "the backward pass") from None
    finally:
        if first:
            _leaving.release()
        tf32_allowed.reset(allowed)
        low.reset(outer)
    return results


_leaving = lock_of_an_object()  # held while gradients are accumulated in leaves


def _bare(g: Gradient) -> Array:
    return g.data if hasattr(g, "node") else g


def _between(roots: Iterable[Node], targets: set[Node], stop_at_targets: bool) -> set[Node]:
    """Return the nodes on paths from a root to a target: only these need a gradient."""
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if not (stop_at_targets and node in targets):
            stack.extend(source for source in node.inputs if source is not None)
    useful: set[Node] = set()
    for node in sorted(seen, key=lambda node: node.number):  # inputs first
        if node in targets or any(source in useful for source in node.inputs):
            useful.add(node)
    return useful


def leaves(root: Node) -> Iterator[Node]:
    """Yield the leaves of a node's tape."""
    seen: set[Node] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(source for source in node.inputs if source is not None)
            if not node.inputs:
                yield node


def _fit(g: Gradient, node: Node) -> Gradient:
    """Reduce a gradient to the shape and dtype of its value."""
    if g.shape != node.shape:
        g = unbroadcast(g, node.shape)
    if g.dtype != node.dtype:
        g = astype(g, dtype=node.dtype)
    return g


def owned(g: Gradient, node: Node, held: set[int]) -> Tensor:
    """Return a gradient as a tensor; copy a view, or an array whose id is in ``held``."""
    own: Tensor = g if isinstance(g, Tensor) else Tensor(node.backend.asarray(g), node.backend)
    if own.data.base is not None or id(own.data) in held:
        own = astype(own, dtype=node.dtype)  # copies
    held.add(id(own.data))
    return own


def _accumulate(node: Node, g: Gradient, handed_out: set[int]) -> None:
    """Add to ``node.grad``; a first gradient is stored in the node's gradient buffer."""
    tracing = current()
    if tracing is not None:
        tracing.note_grad_read(node)
        tracing.note_grad_written(node)
        if node.grad_buffer is None and not node.inputs:  # unfreezing may give it one
            tracing.note_guard(lambda: node.grad_buffer is None)
    is_tensor = isinstance(g, Tensor)
    recorded = is_tensor and is_grad_enabled()  # g is on the tape itself
    array = g.data if is_tensor else g
    grad = node.grad
    written, node.grad_buffer_claimed = (
        node.grad_buffer_claimed and array is node.grad_buffer,
        False,
    )
    if grad is None and (node.grad_buffer is None or recorded):
        node.grad = owned(g, node, handed_out)
    elif grad is None:
        if array is not node.grad_buffer:
            node.release_grad_buffer()
            perform(_copy, node.grad_buffer, array)
        node.grad = grad = Tensor(node.grad_buffer, node.backend)
        node.buffered_grad = weakref.ref(grad)
        if tracing is not None:
            tracing.note_made(grad)
    elif recorded and not written:
        node.grad = grad + g
    else:
        if not written:  # else the kernel has added to it
            perform(_add, grad.data, array)
        grad.bump_version()


def _add(target: Array, value: Array) -> None:
    target[...] += value


def _copy(target: Array, value: Array) -> None:
    target[...] = value


def _run_hooks(node: Node, g: Gradient) -> Gradient:
    """Return the gradient after a node's hooks."""
    recorded = isinstance(g, Tensor)
    value = g if recorded else Tensor(node.backend.asarray(g), node.backend)
    for hook in (node.hooks or {}).values():
        replacement = hook(value)
        if replacement is not None:
            value = _checked_replacement(replacement, node)
    return value if recorded else value.data


def _checked_replacement(value: Any, node: Node) -> Tensor:
    """Check a hook's gradient and convert its dtype."""
    if not hasattr(value, "node") or value.backend is not node.backend:
        raise GradientError(
            f"a gradient hook must return a tensor on {node.backend.name!r}, or None. "
            f"Received: {describe(value)}"
        )
    if value.shape != node.shape:
        raise GradientError(
            f"a gradient hook must return the shape {node.shape}. Received: {value.shape}"
        )
    result: Tensor = value if value.dtype == node.dtype else astype(value, dtype=node.dtype)
    return result


Tensor._carry_back = staticmethod(backward)
