from nnlib_benchmarks.report_text import render_text


def test_everything_is_said(gpu_run):
    text = render_text(gpu_run, width=120)

    for words in (
        "Imaginary CPU 9000", "Imaginary GPU 1", "tf32", "speed-up", "55.0 days", "23.0 h", "57×",
        "“30–60×”", "Crossover", "eight GPUs", "own matmul peak",
    ):  # fmt: skip
        assert words in text, words


def test_no_line_is_wider_than_the_terminal_nor_coloured(gpu_run, failed_run):
    for run in (gpu_run, failed_run):
        text = render_text(run, width=100)
        assert max(map(len, text.splitlines())) <= 100
        assert "\x1b" not in text


def test_a_comparison_with_peers_is_shown(peers_run):
    text = render_text(peers_run, width=130)
    for words in ("over the fastest peer", "0.500× jax", "geometric mean", "(+896 MiB)"):
        assert words in text, words


def test_failures_come_with_a_cross(failed_run):
    text = render_text(failed_run)
    assert "✘ FAILED: mlp: loss curves of numpy and cupy disagree" in text
    assert "✔" not in text


def test_without_a_gpu(cpu_run):
    assert "• No usable GPU on this machine: not measured." in render_text(cpu_run)
