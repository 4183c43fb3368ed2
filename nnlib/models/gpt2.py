"""GPT-2's published weights: names, layout, and sizes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from nnlib.autograd import Tensor
from nnlib.errors import FileFormatError, OptionError, describe
from nnlib.io import load
from nnlib.reading import parsing, read_json

__all__ = ["read_gpt2"]

HEAD_WIDTH = 64  # features of a head in all published sizes
PREFIX = "transformer."
LAYER = re.compile(r"h\.([0-9]+)\.")
TRANSPOSED = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")  # stored (inputs, outputs)
MASKS = (".attn.bias", ".attn.masked_bias")  # causal masks, no parameters
FIXED = {  # what `GPT` computes, by the names of config.json
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "layer_norm_epsilon": (1e-5,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
}


def read_gpt2(
    path: str | os.PathLike[str], heads: int | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read such a file; see `nnlib.models.GPT.from_gpt2`.

    Returns
    -------
    options : dict
        Of `nnlib.models.GPTConfig`.
    state : dict of str to Tensor
        By nnlib's names and in its layout, on the host.
    """
    state = {name.removeprefix(PREFIX): value for name, value in load(path, "numpy").items()}
    state = {name: value for name, value in state.items() if not name.endswith(MASKS)}
    options = _sizes(path, state)
    options["heads"] = heads or _heads(path, options["width"])
    head = state.get("lm_head.weight")
    options["tied"] = head is None or _equal(head, state["wte.weight"])
    if options["tied"]:
        state.pop("lm_head.weight", None)
    for name in state:
        if name.removesuffix(".weight").endswith(TRANSPOSED):
            state[name] = state[name].T
    return options, state


def _sizes(path: str | os.PathLike[str], state: dict[str, Tensor]) -> dict[str, Any]:
    """Read the sizes from the shapes."""
    needed = ("wte.weight", "wpe.weight", "h.0.attn.c_attn.weight", "ln_f.weight")
    missing = [name for name in needed if name not in state]
    if missing:
        raise FileFormatError(
            f"{path} must hold GPT-2's weights by their usual names. Missing: {', '.join(missing)}."
            f" Received: {', '.join(list(state)[:4]) or 'nothing'}, …"
        )
    tokens, positions, product, _ = (state[name] for name in needed)
    if tokens.ndim != 2 or positions.ndim != 2:
        raise FileFormatError(
            f"{path}: wte.weight and wpe.weight must be (tokens, width) and (positions, width). "
            f"Received: {describe(tokens, positions)}"
        )
    width = tokens.shape[1]
    if product.shape != (width, 3 * width):
        raise FileFormatError(
            f"{path}: h.0.attn.c_attn.weight must be (inputs, outputs), ({width}, {3 * width}), as "
            f"GPT-2 keeps it. Received: {describe(product)}. A model that nnlib saved is read by "
            "nnlib.load and load_state_dict"
        )
    with parsing(path, "GPT-2's weights"):
        layers = {int(found[1]) for name in state if (found := LAYER.match(name))}
    if layers != set(range(len(layers))):
        raise FileFormatError(
            f"{path} must hold layers h.0 … h.{len(layers) - 1}, without gaps. "
            f"Received: {len(layers)} layers with numbers up to {max(layers)}"
        )
    return {
        "vocab_size": tokens.shape[0],
        "context": positions.shape[0],
        "layers": len(layers),
        "width": width,
        "bias": "ln_f.bias" in state,
    }


def _heads(path: str | os.PathLike[str], width: int) -> int:
    """Read the number of heads from ``config.json``, or compute it from the usual head width."""
    beside = Path(path).with_name("config.json")
    if os.path.isfile(beside):
        config = read_json(beside, "the description of GPT-2")
        for name, allowed in FIXED.items():
            if config.get(name, allowed[0]) not in allowed:
                raise FileFormatError(
                    f"{beside}: {name} must be {' or '.join(map(str, allowed))}, or the model is "
                    f"another one than GPT-2. Received: {config[name]!r}"
                )
        if type(config.get("n_head")) is int:
            return int(config["n_head"])
    if width % HEAD_WIDTH:
        raise OptionError(
            f"heads must be given, or stand in config.json beside the file, for a width that is no "
            f"multiple of {HEAD_WIDTH}. Received: {width}"
        )
    return width // HEAD_WIDTH


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a.data == b.data).all())
