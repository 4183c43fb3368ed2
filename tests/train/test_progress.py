import io

import pytest

from nnlib.train.progress import PlainProgress, Progress, RichProgress, epoch_line, make_progress

LOGS = {
    "epoch": 1,
    "loss": 0.25,
    "val_accuracy": 0.5,
    "lr": 1e-5,
    "seconds": 1.0,
    "val_seconds": 0.5,
}


def test_form_follows_where_stderr_goes(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    assert type(make_progress(False)) is Progress
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert type(make_progress()) is PlainProgress
    monkeypatch.setattr("sys.stderr", Terminal())
    assert type(make_progress()) is RichProgress


def test_small_numbers_are_shown():
    line = epoch_line({"epoch": 10, "loss": 1.2345e-5, "lr": 0.1}, 100)
    assert line == "epoch  10/100  loss 1.234e-05  lr 0.1  0.0 s"


@pytest.mark.parametrize("kind", [Progress, PlainProgress, RichProgress])
def test_a_run(kind, capsys):
    progress = kind()
    progress.begin(2)
    try:
        for epoch in (1, 2):
            progress.begin_epoch(epoch, 3 if epoch == 1 else None)
            progress.advance()
            progress.show(0.5)
            progress.end_epoch(LOGS | {"epoch": epoch})
        progress.note("stopped [early]")
    finally:
        progress.end()
    out, err = capsys.readouterr()
    assert out == ""
    if kind is not Progress:
        assert "epoch 1/2  loss 0.2500  val_accuracy 0.5000  lr 1e-05  1.5 s" in err
        assert "stopped [early]" in err
    if kind is PlainProgress:
        assert err.count("\n") == 3
    if kind is Progress:
        assert err == ""


class Gone(io.StringIO):
    """A stream whose reader goes away after a few lines."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal, self.left = terminal, 3

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.left -= 1
        if self.left < 0:
            raise BrokenPipeError(32, "Broken pipe")
        return super().write(text)


@pytest.mark.parametrize("terminal", [True, False])
def test_training_goes_on_when_the_reader_is_gone(monkeypatch, terminal):
    stream = Gone(terminal)
    monkeypatch.setattr("sys.stderr", stream)
    progress = make_progress()
    progress.begin(9)
    for epoch in range(1, 10):
        progress.begin_epoch(epoch, 1)
        progress.advance()
        progress.show(0.5)
        progress.end_epoch({**LOGS, "epoch": epoch})
    progress.end()
    assert stream.left < 0


@pytest.mark.parametrize("closed", [True, False])
def test_a_stderr_that_is_not_there(monkeypatch, closed, capsys):
    stream = io.StringIO()
    progress = PlainProgress()
    progress.begin(1)
    stream.close()
    monkeypatch.setattr("sys.stderr", stream if closed else None)
    progress.note("nobody reads this")
    assert type(make_progress()) is Progress
    assert capsys.readouterr().out == ""
