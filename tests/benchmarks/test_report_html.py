import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from nnlib_benchmarks.report_html import render_html

VOID = {"meta", "br", "img", "link"}


class Reader(HTMLParser):
    """Checks that tags close in order, and collects tags, attributes and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [v for k, v in attributes if k in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.mark.parametrize("name", ["cpu_run", "gpu_run", "failed_run", "peers_run"])
def test_the_page_is_well_formed_and_needs_no_network(request, name):
    page = render_html(request.getfixturevalue(name))

    reader = read(page)
    assert reader.addresses == []
    assert not re.search(r"https?://|@import|url\(|<script|<link", page)
    assert "svg" in reader.tags
    assert "NaN" not in page
    assert "nan" not in re.findall(r'(?:cx|cy|x|y|width|d)="([^"]*)"', page)


def test_it_is_for_light_and_dark(cpu_run):
    page = render_html(cpu_run)
    assert "prefers-color-scheme: dark" in page
    assert 'name="color-scheme" content="light dark"' in page


def test_hardware_precision_and_claim_are_named(make, gpu_run):
    text = " ".join(read(render_html(gpu_run)).text)

    assert f"Training on {make.cpu} against {make.gpu}" in text
    for words in ("tf32", "fp32", "55.0 days", "23.0 h", "DGX-1", "GPU wins", "0123abc"):
        assert words in text, words


def test_without_a_gpu_the_page_says_so(cpu_run):
    text = " ".join(read(render_html(cpu_run)).text)
    assert "(no usable GPU on this machine)" in text
    assert "No usable GPU on this machine: not measured" in text


def test_a_comparison_stands_at_the_top(peers_run):
    page = render_html(peers_run)
    assert page.index("Step time in ms: compare") < page.index("the mlp-tiny of the tests")
    assert "0.500× jax" in page


def test_a_failure_is_red_and_no_speedup_is_shown(failed_run):
    page = render_html(failed_run)
    assert '<li class="bad">FAILED: mlp:' in page
    assert "DISAGREES" in page
    assert "25.0×" not in page


def test_texts_of_others_cannot_break_the_page(gpu_run):
    evil = replace(gpu_run.contestants[1], device="<script>alert(1)</script>")
    run = replace(gpu_run, contestants=[gpu_run.contestants[0], evil])

    page = render_html(run)

    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_losses_that_are_not_finite_leave_a_gap(make):
    losses = [*make.curve[:10], *[float("nan")] * 10]
    read(render_html(make.run(gpu=True, losses=losses)))


def test_a_run_of_single_operations_only(gpu_run):
    page = render_html(replace(gpu_run, training=[], claim=None))
    assert "matmul" in page
    assert "The course" not in page
