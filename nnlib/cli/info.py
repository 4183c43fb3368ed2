"""``nnlib info``: description of the machine for a bug report."""

from __future__ import annotations

import json
import os
from typing import Any

import click

import nnlib
from nnlib.errors import BackendUnavailableError, NnlibError

REQUIRED = ("safetensors", "click", "rich", "pooch", "psutil")
OPTIONAL = (
    *("cupy-cuda12x", "cupy-cuda13x", "cuda-toolkit", "cuda-bindings", "nvmath-python"),
    *("nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "nvidia-cudnn-frontend", "nvidia-ml-py"),
    *("matplotlib", "torch", "jax", "scikit-learn"),
)
"""Distributions beside those that `nnlib.cli.machine` already lists."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(as_json: bool) -> None:
    """Describe this machine for a bug report."""
    facts = collect()
    click.echo(json.dumps(facts, indent=2) if as_json else "\n".join(_lines(facts)))


def collect() -> dict[str, Any]:
    """Take down everything that a maintainer would ask for.

    Examples
    --------
    >>> collect()["backends"]["numpy"]["usable"]
    True
    """
    from nnlib.cli.machine import machine_facts, version_of

    machine = machine_facts()
    own = {name: value for name, value in os.environ.items() if name.startswith("NNLIB_")}
    environment = {**own, **machine["environment"]}
    return {
        "nnlib": machine["nnlib_version"],
        "git_commit": machine["git_commit"],
        "python": machine["python"],
        "system": machine["system"],
        "cpu": {
            "name": machine["cpu"],
            "cores": machine["cores"],
            "usable_threads": machine["threads"],
        },
        "memory_bytes": machine["memory_bytes"],
        "blas": machine["blas"],
        "current_backend": _current_backend(),
        "backends": {name: _backend(name, e) for name, e in nnlib.available_backends().items()},
        "packages": machine["packages"] | {name: version_of(name) for name in REQUIRED},
        "optional": {name: version_of(name) for name in OPTIONAL},
        "environment": {name: _without_home(value) for name, value in environment.items()},
    }


def _current_backend() -> str:
    try:
        return nnlib.get_backend().name
    except NnlibError as error:
        return f"none: {error}"


def _backend(name: str, error: BackendUnavailableError | None) -> dict[str, Any]:
    if error is None:
        return {"usable": True, **nnlib.backend_info(name)}
    return {
        "usable": False,
        "reason": error.reason,
        "detail": error.detail,
        "remedy": error.remedy,
    }


def _without_home(value: str) -> str:
    """Replace the user's folder, which contains a name, by "~"."""
    return value.replace(os.path.expanduser("~"), "~")


def _lines(facts: dict[str, Any]) -> list[str]:
    commit = f" ({facts['git_commit']})" if facts["git_commit"] else ""
    cpu = facts["cpu"]
    lines = [
        f"nnlib     {facts['nnlib']}{commit}",
        f"Python    {facts['python']}",
        f"system    {facts['system']}",
        f"CPU       {cpu['name']}, {cpu['cores']} cores, {cpu['usable_threads']} usable threads",
        f"memory    {facts['memory_bytes'] / 2**30:.1f} GiB",
    ]
    lines += [
        f"BLAS      {blas['name']} {blas['version']} {blas['architecture']}, "
        f"{blas['threads']} threads ({blas['library']})"
        for blas in facts["blas"]
    ]
    lines += [f"backend   {facts['current_backend']}", "", "backends"]
    for name, backend in facts["backends"].items():
        lines += _backend_lines(name, backend)
    optional = facts["optional"]
    installed = facts["packages"] | {name: found for name, found in optional.items() if found}
    missing = [name for name, found in optional.items() if not found]
    lines += ["", "packages", *(f"  {name} {found}" for name, found in installed.items())]
    lines += [f"  not installed: {', '.join(missing)}"] if missing else []
    variables = [f"  {name}={value}" for name, value in facts["environment"].items()]
    lines += ["", "environment", *(variables or ["  (none set)"])]
    return lines


def _backend_lines(name: str, backend: dict[str, Any]) -> list[str]:
    if not backend["usable"]:
        return [
            f"  {name}: not usable ({backend['reason']}): {backend['detail']}",
            f"    remedy: {backend['remedy']}",
        ]
    libraries = ", ".join(f"{k} {v}" for k, v in backend["libraries"].items())
    details = [f"    {k}: {v}" for k, v in backend["details"].items() if v is not None]
    missing = [f"    without {k}: {reason}" for k, reason in backend["missing"].items()]
    remedy = [f"    remedy: {backend['remedy']}"] if missing else []
    memory = f"{backend['memory_bytes'] / 2**30:.1f} GiB"
    return [f"  {name}: {backend['name']}, {memory}, {libraries}", *details, *missing, *remedy]
