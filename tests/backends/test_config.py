import ast
import re
from pathlib import Path

import nnlib_backends
from nnlib_backends.config import SETTINGS, Setting

ROOT = Path(nnlib_backends.__file__).parents[2]
NAMES = {setting.name for setting in SETTINGS}


def test_a_setting_is_read_when_it_is_asked_for(monkeypatch):
    setting = Setting("NNLIB_EXAMPLE", "nothing")
    assert setting.get() == ""
    monkeypatch.setenv("NNLIB_EXAMPLE", "7")
    assert setting.get() == "7"


def test_the_code_names_no_other_variable():
    for package in ("nnlib", "backends", "benchmarks"):
        for path in (ROOT / package).rglob("*.py"):
            unknown = {*re.findall(r"\bNNLIB_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))} - NAMES
            assert unknown <= {"NNLIB_EXAMPLE"}, path


def test_only_config_reads_them():
    for package in ("nnlib", "backends"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and "environ" in ast.unparse(node.func):
                    assert "NNLIB" not in ast.unparse(node), path


def test_the_documents_explain_all():
    texts = "".join(
        path.read_text("utf-8") for path in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
    )
    hidden = {"NNLIB_DEBUG"}  # an option of the command line, which --help explains
    assert {name for name in NAMES if f"`{name}" not in texts} <= hidden
