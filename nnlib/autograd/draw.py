"""The tape of a result as text and as a picture.

The picture shows what the backward pass will visit: parameters and all operations that depend on
one.  Constants, such as the data, have no node on the tape.  To see an input in the picture, set
``requires_grad=True``.
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
    """A node to draw; ``inputs`` are indices in the list of vertices."""

    kind: str
    label: str
    inputs: list[int]


def graph_dot(result: Tensor, names: Mapping[str, Tensor] | None = None) -> str:
    r"""Describe the graph behind a result in Graphviz's language.

    Parameters
    ----------
    result : Tensor
        A result computed from tensors with ``requires_grad=True``, before or after ``backward()``.
    names : mapping of str to Tensor, optional
        Names of parameters or intermediate results, such as ``dict(model.named_parameters())``.

    Returns
    -------
    str
        DOT source with leaves as boxes and operations as ellipses, each with its shape.
        ``dot -Tsvg`` makes a picture of it.

    Raises
    ------
    GradientError
        If the result depends on no tensor with ``requires_grad=True``.

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

    Meant for graphs of up to some dozens of operations; Graphviz has a better layout for larger
    ones.  Parameters and errors are those of `graph_dot`.

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
    positions = _layout(vertices)
    columns, rows = (1 + max(position[axis] for position in positions) for axis in (0, 1))
    figure = Figure(figsize=(1.35 * columns + 0.5, 0.95 * rows + 0.5))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.7, columns - 0.3), ylim=(-0.75, rows - 0.25))
    axes.axis("off")
    boxes = [_draw_vertex(axes, *pair) for pair in zip(vertices, positions, strict=True)]
    for vertex, position, box in zip(vertices, positions, boxes, strict=True):
        for i, source in enumerate(vertex.inputs):
            again = vertex.inputs[:i].count(source)  # x * x: a second arrow beside the first
            skips = position[0] - positions[source][0] > 1
            bend = 0.3 * (skips + again)
            axes.annotate(
                "", position, positions[source],
                arrowprops={"arrowstyle": "-|>", "color": "0.35", "patchA": boxes[source],
                            "patchB": box, "connectionstyle": f"arc3,rad={bend}"},
            )  # fmt: skip
    return figure


def _draw_vertex(axes: Any, vertex: Vertex, position: tuple[float, float]) -> Any:
    """Draw a vertex; return its frame, at which arrows end."""
    style = "square,pad=0.5" if vertex.kind == LEAF else "round,pad=0.5,rounding_size=0.8"
    frame = {"boxstyle": style, "facecolor": COLOURS[vertex.kind], "edgecolor": "0.35"}
    text = axes.text(*position, vertex.label, ha="center", va="center", fontsize=9, bbox=frame)
    return text.get_bbox_patch()


def _vertices(result: Tensor, names: Mapping[str, Tensor] | None) -> list[Vertex]:
    """Return the vertices of a result's tape in topological order."""
    if result.node is None:
        raise GradientError(
            "a graph needs a result that depends on a tensor with requires_grad=True. "
            f"Received: {result!r}"
        )
    called = {tensor.node: name for name, tensor in (names or {}).items() if tensor.node}
    nodes = _ancestors(result.node)
    index = {node: i for i, node in enumerate(nodes)}
    vertices: list[Vertex] = []
    for node in nodes:
        inputs = [index[source] for source in node.inputs if source is not None]
        operation = getattr(node, "operation", None)  # leaves have none
        words = (called.get(node, ""), operation.name if operation else "")
        title = " = ".join(word for word in words if word) or "leaf"
        kind = RESULT if node is result.node else OPERATION if operation else LEAF
        vertices.append(Vertex(kind, f"{title}\n{node.shape}", inputs))
    return vertices


def _ancestors(root: Node) -> list[Node]:
    """Return a node and all nodes it was computed from, oldest first."""
    seen: set[Node] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(source for source in node.inputs if source is not None)
    return sorted(seen, key=lambda node: node.number)


def _layout(vertices: list[Vertex]) -> list[tuple[float, float]]:
    """Choose (x, y) for each vertex, from the result backwards.

    A vertex is in the column before its first user, near the mean height of its users.
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
        # operations above leaves keep the longest path straight
        members.sort(key=lambda i: (wish[i], vertices[i].kind != LEAF))
        top = sum(wish.values()) / len(members) + (len(members) - 1) / 2
        for rank, i in enumerate(reversed(members)):
            height[i] = top - rank
    return [(float(x - min(column)), y - min(height)) for x, y in zip(column, height, strict=True)]
