import re

import pytest

from nnlib_benchmarks.reports import Reports
from nnlib_benchmarks.schema import load_run


def test_json_html_and_png_of_one_name(tmp_path, gpu_run):
    pytest.importorskip("matplotlib")

    paths = Reports(tmp_path).write(gpu_run, pytest.fail)

    assert [p.suffix for p in paths] == [".json", ".html", ".png"]
    assert len({p.stem for p in paths}) == 1
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}Z", paths[0].stem)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert load_run(paths[0]) == gpu_run
