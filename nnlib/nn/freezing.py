"""Freezing: excluding parts of a model from training."""

from __future__ import annotations

from nnlib.nn.module import Module
from nnlib.patterns import matching

__all__ = ["freeze", "unfreeze"]


def freeze(model: Module, *patterns: str) -> list[str]:
    """Exclude parts of a model from training.

    Frozen parameters get no gradient, so a step with frozen first layers is faster.  Optimizers
    skip them, weight decay included.  **Batch normalisation** has values that change without a
    gradient, its running mean and variance.  Where their names match, the layer stays in inference
    mode, also after ``train()``, and normalises by those values, so the output of a frozen network
    does not depend on the new batches (as with ``trainable = False`` in Keras;
    ``requires_grad_(False)`` alone, as in PyTorch, would let the statistics change).  To train the
    rest on batch statistics, freeze the parameters only,
    ``"features.*.weight", "features.*.bias"``.  Dropout has no values to freeze and stays active.

    Parameters
    ----------
    model : Module
    *patterns : str
        Of names as in `Module.state_dict`: ``"features.*"``, ``"*.bias"``; ``*`` also matches
        dots.  All if none is given.

    Returns
    -------
    list of str
        Names of the frozen parameters and statistics, in the model's order.

    Raises
    ------
    OptionError
        If a pattern matches nothing.

    Examples
    --------
    >>> from nnlib import nn
    >>> model = nn.Sequential({"features": nn.Linear(4, 3), "head": nn.Linear(3, 2)})
    >>> freeze(model, "features.*")
    ['features.weight', 'features.bias']
    >>> [name for name, p in model.named_parameters() if p.requires_grad]
    ['head.weight', 'head.bias']
    """
    return _set(model, patterns, frozen=True)


def unfreeze(model: Module, *patterns: str) -> list[str]:
    """Train parts of a model again; the opposite of `freeze`, with the same parameters and errors.

    An optimizer that has the parameters updates them again.

    Examples
    --------
    >>> from nnlib import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    >>> _ = freeze(model)
    >>> unfreeze(model, "1.*")
    ['1.weight', '1.bias', '1.running_mean', '1.running_var', '1.num_batches_tracked']
    """
    return _set(model, patterns, frozen=False)


def _set(model: Module, patterns: tuple[str, ...], frozen: bool) -> list[str]:
    names = [name for name, _ in (*model.named_parameters(), *model.named_buffers())]
    chosen = {name for pattern in patterns or ("*",) for name in matching(pattern, names)}
    for name, parameter in model.named_parameters():
        if name in chosen:
            parameter.requires_grad = not frozen
            if frozen:
                parameter.grad = None  # or the next step would still use it
    statistics = set()
    for path, module in model.named_modules():
        if getattr(module, "running_mean", None) is None:
            continue
        own = {f"{path}.{name}" if path else name for name in module._buffers}
        if own & chosen:
            statistics |= own
            module.frozen = frozen
            module.training = model.training and not frozen
    parameters = {name for name, _ in model.named_parameters()}
    return [name for name in names if name in chosen & (parameters | statistics)]
