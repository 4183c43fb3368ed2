import sys

import pytest

from nnlib.errors import MissingExtraError
from nnlib_benchmarks.report_png import render_png
from nnlib_benchmarks.reports import Reports

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("name", ["cpu_run", "gpu_run", "failed_run", "peers_run", "gpu_peers_run"])
def test_a_picture_is_drawn(request, name):
    pytest.importorskip("matplotlib")
    picture = render_png(request.getfixturevalue(name))
    assert picture.startswith(PNG)
    assert len(picture) > 20_000


def test_without_matplotlib_the_pip_command_is_told_and_the_rest_is_written(
    monkeypatch, tmp_path, cpu_run
):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install .*\[plot\]"):
        render_png(cpu_run)

    warnings = []
    paths = Reports(tmp_path).write(cpu_run, warnings.append)

    assert sorted(p.suffix for p in paths) == [".html", ".json"]
    assert "[plot]" in warnings[0]
