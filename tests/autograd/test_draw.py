import re

import pytest

import nnlib
from nnlib.autograd import draw_graph, graph_dot
from nnlib.errors import GradientError, MissingExtraError


def leaf(*shape):
    return nnlib.tensor(nnlib.ones(*shape), requires_grad=True)


def edges(dot):
    """(label of the source, label of the target) of every arrow."""
    labels = dict(re.findall(r'(n\d+) \[label="(.*?)"', dot))
    return sorted((labels[a], labels[b]) for a, b in re.findall(r"(n\d+) -> (n\d+);", dot))


def test_graph_has_leaves_operations_and_every_use(backend):
    w, b = leaf(3, 2), leaf(3)
    z = nnlib.ones(5, 2) @ w.T + b
    J = (z * z).sum()
    assert edges(graph_dot(J, {"w": w, "b": b, "z": z, "J": J})) == [
        (r"b\n(3,)", r"z = add\n(5, 3)"),
        (r"matmul\n(5, 3)", r"z = add\n(5, 3)"),
        (r"multiply\n(5, 3)", r"J = sum\n()"),
        (r"transpose\n(2, 3)", r"matmul\n(5, 3)"),
        (r"w\n(3, 2)", r"transpose\n(2, 3)"),
        (r"z = add\n(5, 3)", r"multiply\n(5, 3)"),
        (r"z = add\n(5, 3)", r"multiply\n(5, 3)"),
    ]


def test_constants_and_what_no_gradient_passes_are_left_out(backend):
    w, other = leaf(2), leaf(2)
    dot = graph_dot((w * other.detach() + nnlib.ones(2)).sum(), {"other": other})
    assert "other" not in dot
    assert dot.count("shape=box") == 1  # w


def test_fused_operation_is_one_ellipse_where_the_backend_computes_it_in_one_piece():
    w = leaf(4, 3)
    dot = graph_dot(nnlib.nn.functional.linear(nnlib.ones(2, 3), w))
    fused = "linear" in nnlib.get_backend().kernels
    assert ("linear" in dot) == fused


def test_graph_is_still_there_after_the_backward_pass(backend):
    w = leaf(2)
    J = (w * w).sum()
    before = graph_dot(J)
    J.backward()
    assert graph_dot(J) == before


def test_a_name_may_hold_any_character():
    w = leaf(2)
    line = graph_dot(w.sum(), {'say "w"\\': w}).splitlines()[2]
    assert line == r'  n0 [label="say \"w\"\\\n(2,)", shape=box, fillcolor="#dbe9f6"];'


def test_a_leaf_alone_is_a_graph():
    w = leaf(2)
    assert graph_dot(w, {"w": w}).count("label") == 1
    assert len(draw_graph(w).axes[0].patches) == 0


def test_a_long_chain_needs_no_recursion():
    x = leaf(1)
    y = x
    for _ in range(3000):
        y = y + 1.0
    assert graph_dot(y).count("->") == 3000


@pytest.mark.parametrize("function", [graph_dot, draw_graph])
def test_a_result_that_was_not_recorded_is_refused(function):
    with pytest.raises(GradientError, match="requires_grad=True"):
        function(nnlib.ones(2))


def test_picture_goes_from_left_to_right_and_nothing_overlaps(tmp_path):
    w, v = leaf(2), leaf(2)
    a = nnlib.exp(w) * v
    J = (a * w + nnlib.tanh(v) + a).sum()
    figure = draw_graph(J, {"w": w, "v": v})
    figure.savefig(tmp_path / "graph.png")
    words = [text for text in figure.axes[0].texts if text.get_text()]
    places = [text.get_position() for text in words]
    assert len(places) == graph_dot(J).count("label") == len(set(places))
    assert words[places.index(max(places))].get_text() == "sum\n()"
    boxes = [text.get_bbox_patch().get_window_extent() for text in words]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    arrows = [text for text in figure.axes[0].texts if not text.get_text()]
    assert len(arrows) == graph_dot(J).count("->")
    assert all(arrow.xy[0] > arrow.xyann[0] for arrow in arrows)


def test_without_matplotlib_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plot\]'"):
        draw_graph(leaf(2).sum())
