"""Says at the end how many samples of PyTorch's tables were compared."""

import sys


def pytest_terminal_summary(terminalreporter):
    counts = getattr(sys.modules.get("peers.samples"), "COUNTS", None)
    if counts:
        text = ", ".join(f"{number} {what}" for what, number in counts.items())
        terminalreporter.write_line(f"PyTorch's own samples: {text}")
