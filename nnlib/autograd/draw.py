"""The recorded graph as text and as a picture.

What is drawn is what the backward pass will walk: parameters and every operation that depends on
one.  Constants, such as the data, have no gradient; nothing is recorded of them.  To see an input
in the picture, give it ``requires_grad=True``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlib.autograd.node import Node
from nnlib.autograd.tensor import Tensor
from nnlib.errors import GradientError, missing_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_graph", "graph_dot"]

LEAF, OPERATION, RESULT = "leaf", "operation", "result"
COLOURS = {LEAF: "#dbe9f6", OPERATION: "#ffffff", RESULT: "#fde3c8"}


@dataclass
class Vertex:
    """A node in words; ``inputs`` are positions in the list of vertices."""

    kind: str
    label: str
    inputs: list[int]


def graph_dot(result: Tensor, names: Mapping[str, Tensor] | None = None) -> str:
    r"""Describe the graph behind a result in Graphviz's language.

    Parameters
    ----------
    result : Tensor
        Computed from tensors with ``requires_grad=True``.  A backward pass may have been through.
    names : mapping of str to Tensor, optional
        What to call some of the tensors, parameters or intermediate results, such as
        ``dict(model.named_parameters())``.

    Returns
    -------
    str
        DOT: leaves (what can have a ``grad``) are boxes, operations ellipses, each with its shape.
        ``dot -Tsvg`` makes a picture of it.

    Raises
    ------
    GradientError
        If nothing was recorded.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0, 2.0], requires_grad=True)
    >>> print(graph_dot((w * w).sum(), {"w": w}))
    digraph nnlib {
      rankdir=LR; node [fontname="sans-serif", style=filled, fillcolor="#ffffff"];
      n0 [label="w\n(2,)", shape=box, fillcolor="#dbe9f6"];
      n1 [label="multiply\n(2,)"];
      n2 [label="sum\n()", fillcolor="#fde3c8"];
      n0 -> n1;
      n0 -> n1;
      n1 -> n2;
    }
    """
    lines = ['  rankdir=LR; node [fontname="sans-serif", style=filled, fillcolor="#ffffff"];']
    arrows = []
    for i, vertex in enumerate(_vertices(result, names)):
        label = vertex.label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        shape = ", shape=box" if vertex.kind == LEAF else ""
        fill = "" if vertex.kind == OPERATION else f', fillcolor="{COLOURS[vertex.kind]}"'
        lines.append(f'  n{i} [label="{label}"{shape}{fill}];')
        arrows += [f"  n{source} -> n{i};" for source in vertex.inputs]
    return "\n".join(["digraph nnlib {", *lines, *arrows, "}"])


def draw_graph(result: Tensor, names: Mapping[str, Tensor] | None = None) -> Figure:
    r"""Draw the graph behind a result, from the leaves on the left to the result on the right.

    Made for graphs of up to some dozens of operations; Graphviz places larger ones better, see
    `graph_dot`, whose parameters and errors these are.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``.savefig("graph.png")``.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nnlib
    >>> w = nnlib.tensor([1.0, 2.0], requires_grad=True)
    >>> figure = draw_graph((w * w).sum(), {"w": w})
    >>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    ['w\n(2,)', 'multiply\n(2,)', 'sum\n()']
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise missing_extra("draw_graph, unlike graph_dot, needs matplotlib", "plot") from error
    vertices = _vertices(result, names)
    places = _places(vertices)
    columns, rows = (1 + max(place[axis] for place in places) for axis in (0, 1))
    figure = Figure(figsize=(1.35 * columns + 0.5, 0.95 * rows + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.7, columns - 0.3), ylim=(-0.75, rows - 0.25))
    axes.axis("off")
    boxes = [_write(axes, vertex, place) for vertex, place in zip(vertices, places, strict=True)]
    for vertex, place, box in zip(vertices, places, boxes, strict=True):
        for i, source in enumerate(vertex.inputs):
            again = vertex.inputs[:i].count(source)  # x * x: a second arrow beside the first
            skips = place[0] - places[source][0] > 1
            bend = 0.3 * (skips + again)
            axes.annotate(
                "", place, places[source],
                arrowprops={"arrowstyle": "-|>", "color": "0.35", "patchA": boxes[source],
                            "patchB": box, "connectionstyle": f"arc3,rad={bend}"},
            )  # fmt: skip
    return figure


def _write(axes: Any, vertex: Vertex, place: tuple[float, float]) -> Any:
    """Write a vertex and return its frame, where arrows end."""
    style = "square,pad=0.5" if vertex.kind == LEAF else "round,pad=0.5,rounding_size=0.8"
    frame = {"boxstyle": style, "facecolor": COLOURS[vertex.kind], "edgecolor": "0.35"}
    text = axes.text(*place, vertex.label, ha="center", va="center", fontsize=9, bbox=frame)
    return text.get_bbox_patch()


def _vertices(result: Tensor, names: Mapping[str, Tensor] | None) -> list[Vertex]:
    """Everything behind a result, inputs before what uses them."""
    if result.node is None:
        raise GradientError(
            "a graph is recorded of results that depend on a tensor with requires_grad=True. "
            f"Received: {result!r}"
        )
    called = {tensor.node: name for name, tensor in (names or {}).items() if tensor.node}
    nodes = _behind(result.node)
    position = {node: i for i, node in enumerate(nodes)}
    vertices: list[Vertex] = []
    for node in nodes:
        inputs = [position[source] for source in node.inputs if source is not None]
        operation = getattr(node, "operation", None)  # leaves have none
        words = (called.get(node, ""), operation.name if operation else "")
        title = " = ".join(word for word in words if word) or "leaf"
        kind = RESULT if node is result.node else OPERATION if operation else LEAF
        vertices.append(Vertex(kind, f"{title}\n{node.shape}", inputs))
    return vertices


def _behind(root: Node) -> list[Node]:
    """All nodes from which a result was computed, oldest first, itself last."""
    seen: set[Node] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(source for source in node.inputs if source is not None)
    return sorted(seen, key=lambda node: node.number)


def _places(vertices: list[Vertex]) -> list[tuple[float, float]]:
    """Choose (x, y) for each vertex, from the result backwards.

    Each stands in the column before its first use, at the mean height of what it feeds, or as near
    to that as its column has room.
    """
    users: list[list[int]] = [[] for _ in vertices]
    column, height = [0] * len(vertices), [0.0] * len(vertices)
    for i in reversed(range(len(vertices))):
        column[i] = min((column[user] for user in users[i]), default=1) - 1
        for source in vertices[i].inputs:
            users[source].append(i)
    for c in range(0, min(column) - 1, -1):
        members = [i for i in range(len(vertices)) if column[i] == c]
        wish = {i: sum(height[u] for u in users[i]) / max(len(users[i]), 1) for i in members}
        # what was computed above the leaves that join it: the long path stays a straight line
        members.sort(key=lambda i: (wish[i], vertices[i].kind != LEAF))
        top = sum(wish.values()) / len(members) + (len(members) - 1) / 2
        for rank, i in enumerate(reversed(members)):
            height[i] = top - rank
    return [(float(x - min(column)), y - min(height)) for x, y in zip(column, height, strict=True)]
