import sys

from nnlib_benchmarks.progress import PlainProgress, SilentProgress, show_progress


def test_elsewhere_than_on_a_terminal_progress_is_plain_lines_on_stderr(capsys):
    with show_progress() as progress:
        assert isinstance(progress, PlainProgress)
        progress.stage("lenet: steps", 10)
        progress.advance()
        progress.note("by the way")

    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["[   0 s] lenet: steps", "by the way"]


def test_on_a_terminal_it_is_a_bar_on_stderr(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with show_progress() as progress:
        progress.stage("one", 2)
        progress.advance(2)
        progress.stage("two", 1)
        progress.note("by the way")

    out, err = capsys.readouterr()
    assert out == ""
    assert "two" in err
    assert "by the way" in err


def test_quiet(capsys):
    with show_progress(quiet=True) as progress:
        assert isinstance(progress, SilentProgress)
        progress.stage("one", 1)
        progress.advance()
        progress.note("nothing")
    assert capsys.readouterr().err == ""
