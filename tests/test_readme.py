"""What the README promises: its two commands, its code, its links."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")


def test_first_two_shell_blocks_are_the_two_commands():
    main_job, tests = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert main_job.strip().endswith("nnlib bench")
    assert "/pytest " in tests


def test_code_runs_and_prints_what_it_says(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    exec(code, {})
    printed = capsys.readouterr().out
    promised = re.search(r"'accuracy': (0\.\d+)…", code)[1]
    assert f"'accuracy': {promised}" in printed


def test_it_fits_one_screen():
    assert len(README.splitlines()) <= 70
