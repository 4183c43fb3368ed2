"""Recurrent operations against the reference implementation of ONNX, and its own node cases.

ONNX is time-major, orders the gates otherwise (i-o-f-c and z-r-h) and keeps both biases in one
array; a GRU is ours where ``linear_before_reset`` is 1.
"""

import numpy as np
import pytest
from ops.table import peer

import nnlib
from nnlib import ops

pytestmark = pytest.mark.peers
peer("onnx")
ORDER = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}  # ours from theirs: i-f-g-o, r-z-n


def reordered(kind, array):
    """Put the parts of the last but one axis (or the only one) into our order."""
    axis = max(array.ndim - 2, 0)
    parts = np.split(array, len(ORDER[kind]), axis=axis)
    return np.concatenate([parts[i] for i in ORDER[kind]], axis=axis)


def compute(kind, x, w, r, b=None, lengths=None, h0=None, c0=None, p=None, reverse=False):
    """Our operation on ONNX's inputs of one direction: states (T, B, H) after every step."""
    w, r = reordered(kind, w[0]), reordered(kind, r[0])
    biases = (None, None)
    if b is not None:
        biases = (reordered(kind, half) for half in np.split(b[0], 2))
    arrays = [np.swapaxes(x, 0, 1), w, r, *biases, None if h0 is None else h0[0]]
    if kind == "LSTM":
        arrays.append(None if c0 is None else c0[0])
    arrays.append(lengths)
    if kind == "LSTM" and p is not None:
        i, o, f = np.split(p[0], 3)
        arrays.append(np.concatenate([i, f, o]))
    function = {"LSTM": ops.lstm, "GRU": ops.gru, "RNN": ops.rnn}[kind]
    tensors = [a if a is None else nnlib.tensor(a) for a in arrays]
    y = function(*tensors, reverse=reverse).numpy()
    return np.moveaxis(y, -2, -3)  # (…, T, B, H)


def reference(kind, hidden, inputs, **attributes):
    """Return Y, Y_h (and Y_c) of an ONNX node."""
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    outputs = ["Y", "Y_h", "Y_c"] if kind == "LSTM" else ["Y", "Y_h"]
    if kind == "LSTM":  # the reference implementation has no Y_c
        outputs = outputs[:2]
    names = [name if value is not None else "" for name, value in inputs.items()]
    node = helper.make_node(kind, names, outputs, hidden_size=hidden, **attributes)
    given = {name: value for name, value in inputs.items() if value is not None}
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in given.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
    )
    return ReferenceEvaluator(helper.make_model(graph)).run(None, given)


@pytest.mark.parametrize("case", ["plain", "biased", "started", "peepholes"])
@pytest.mark.parametrize("kind", ORDER)
def test_is_the_reference_evaluators(kind, case):
    if case == "peepholes" and kind != "LSTM":
        pytest.skip("only LSTMs have them")
    T, B, D, H, gates = 5, 3, 4, 6, len(ORDER[kind])
    rng = np.random.default_rng(0)

    def draw(*shape):
        return (rng.standard_normal(shape) * 0.5).astype(np.float32)

    inputs = {"X": draw(T, B, D), "W": draw(1, gates * H, D), "R": draw(1, gates * H, H)}
    started, peepholes = case in ("started", "peepholes"), case == "peepholes"
    inputs["B"] = draw(1, 2 * gates * H) if case != "plain" else None
    inputs["sequence_lens"] = np.full(B, T, np.int32) if peepholes else None
    inputs["initial_h"] = draw(1, B, H) if started else None
    if kind == "LSTM":
        inputs["initial_c"] = draw(1, B, H) if started else None
        inputs["P"] = draw(1, 3 * H) if peepholes else None
    while list(inputs.values())[-1] is None:
        inputs.popitem()
    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
    y, final = reference(kind, H, inputs, **attributes)
    ours = compute(kind, *inputs.values())
    hidden = ours[0] if kind == "LSTM" else ours
    np.testing.assert_allclose(hidden, y[:, 0], atol=2e-6)
    np.testing.assert_allclose(hidden[-1], final[0], atol=2e-6)


def node_cases():
    """The recurrent cases that ONNX publishes, with their inputs and outputs."""
    from onnx.backend.test.case.node import collect_testcases

    cases = [case for case in collect_testcases(None) if case.model is not None]
    return [case for case in cases if case.model.graph.node[0].op_type in ORDER]


@pytest.mark.filterwarnings("ignore")
def test_published_node_cases():
    from onnx import helper

    checked = []
    for case in node_cases():
        node = case.model.graph.node[0]
        kind = node.op_type
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        values = dict(zip([n for n in node.input if n], case.data_sets[0][0], strict=True))
        inputs = [values.get(n) if n else None for n in node.input]
        if attributes.get("layout"):
            inputs[0] = np.swapaxes(inputs[0], 0, 1)
            inputs[5:7] = [s if s is None else np.swapaxes(s, 0, 1) for s in inputs[5:7]]
        # Ours resets the state after its product; the two are one in the first step from 0.
        resets = kind == "GRU" and not attributes.get("linear_before_reset") and len(inputs[0]) > 1
        if resets or attributes.get("direction", b"forward") == b"bidirectional":
            continue
        outputs = dict(zip([n for n in node.output if n], case.data_sets[0][1], strict=True))
        ours = compute(kind, *inputs, reverse=attributes.get("direction") == b"reverse")
        hidden = ours[0] if kind == "LSTM" else ours
        final = outputs["Y_h"]
        final = final[:, 0] if attributes.get("layout") else final[0]
        last = 0 if attributes.get("direction") == b"reverse" else -1
        np.testing.assert_allclose(hidden[last], final, rtol=1e-3, atol=1e-5, err_msg=case.name)
        if "Y" in outputs:
            y = outputs["Y"]
            y = np.moveaxis(y[:, :, 0], 1, 0) if attributes.get("layout") else y[:, 0]
            np.testing.assert_allclose(hidden, y, rtol=1e-3, atol=1e-5, err_msg=case.name)
        checked.append(case.name)
    assert len(checked) >= 10, checked
