"""``import nnlib`` is light: little time on top of NumPy, and nothing heavy with it."""

import json
import os
import subprocess
import sys

HEAVY = ("cupy", "numba", "matplotlib", "rich", "click", "scipy", "pooch", "safetensors")
HEAVY += ("psutil", "threadpoolctl", "torch", "jax", "nnlib_benchmarks", "PIL")

MEASURE = """
import json, sys, time
import numpy
begin = time.process_time()  # of this process alone: other load does not count
import nnlib
seconds = time.process_time() - begin
print(json.dumps([seconds, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def measure():
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}  # nobody compiles at each import
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True, env=environment
    )
    return json.loads(done.stdout)


def test_import_is_quick_on_top_of_numpy():
    best = min(measure()[0] for _ in range(5))
    assert best < 0.2, f"import nnlib takes {best:.3f} s on top of numpy"


def test_import_loads_nothing_heavy():
    _, loaded = measure()
    assert not set(loaded) & set(HEAVY)
