"""The report is one file without links, contains the results, and escapes its inputs."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest

from converters.verification.comparison import Comparison
from converters.verification.plot import line_plot
from converters.verification.report import render, write_report
from converters.verification.result import Verification
from support.messages import mentions
from support.tolerances import PLOTTED

EVIL = '<script>alert("x")</script>&'


def comparison(stage, group, relative=1e-7, pair=("reference", "torch"), **changes):
    fields = {"absolute": 2 * relative, "relative": relative, "scale": "largest value", "tolerance": 1e-5}
    return Comparison(stage, group, pair, **{**fields, **changes})


@pytest.fixture
def result():
    return Verification(
        checkpoint="clip/",
        against=None,
        class_name="CLIPModel",
        dtype="float32",
        backends=["reference", "torch"],
        inputs={"pixel_values": "clip/", "input_ids": "drawn"},
        comparisons=[
            comparison("vision.embeddings", "embeddings"),
            comparison("vision.layers.0", "hidden states", 3e-4),
            comparison("text.layers.0", "hidden states", math.inf, fault="torch lacks this stage"),
            comparison("gradient.logit_scale", "gradients", 2e-7),
            comparison("gradient.text_projection.weight", "gradients", 9e-3),
        ],
        versions={"torch": "2.13.0", "processor": "a processor, 2 threads"},
    )


class Reader(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], []
        self.open = []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_it_contains_verdict_table_worst_parameters_and_versions(result):
    read = Reader(render(result))
    assert read.open == []  # every tag is closed
    text = " ".join(read.text)
    assert mentions(result.verdict(), "vision.layers.0")
    assert mentions(text, result.verdict(), result.comparisons[2].fault, result.versions["processor"])
    worst = text.partition("Worst parameters")[2]
    assert worst.index("gradient.text_projection.weight") < worst.index("gradient.logit_scale")
    assert read.tags.count("svg") == 2  # a plot for each tower


def test_nothing_is_loaded_from_elsewhere(result):
    read = Reader(render(result))
    assert {"script", "link", "img", "iframe", "a", "use", "image"}.isdisjoint(read.tags)
    assert {"href", "src", "xlink:href"}.isdisjoint(name for name, _ in read.attributes)
    assert "url(" not in render(result)
    assert "http" not in render(result)


def test_everything_is_escaped(result):
    evil = Verification(
        checkpoint=EVIL,
        against=EVIL,
        class_name="CLIPModel",
        dtype="float32",
        backends=[EVIL, "torch"],
        inputs={EVIL: EVIL},
        configuration={EVIL: (EVIL, EVIL)},
        comparisons=[
            comparison(f"{tower}.layers.{EVIL}", "hidden states", 1.0, (EVIL, "torch"), fault=EVIL)
            for tower in ("vision", "text", "gradient")
        ],
        versions={EVIL: EVIL},
    )
    html = render(evil)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 10
    assert Reader(html).open == []


def test_a_run_without_gradients_has_no_table_of_parameters(result):
    result.comparisons = result.comparisons[:1]
    assert "Worst parameters" not in render(result)


def test_it_is_written_whole_into_a_folder_that_may_be_new(result, tmp_path):
    write_report(result, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == render(result)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def heights(svg, colour):
    points = re.findall(rf'<polyline points="([^"]*)" fill="none" stroke="{colour}"', svg)
    (line,) = points
    return [float(point.split(",")[1]) for point in line.split()]


def test_a_plot_is_logarithmic_and_shows_zero_and_infinity_at_its_edges():
    svg = line_plot(["a", "b", "c", "d", "e"], {"one": [1e-8, 1e-6, 1e-4, 0.0, math.inf]}, [1e-5] * 5)
    one, hundred, top, zero, infinite = heights(svg, "#0072b2")
    assert one - hundred == pytest.approx(hundred - top, abs=PLOTTED)
    assert zero == one  # the foot, where the smallest number is
    assert infinite == top  # where the largest that is finite is
    (limit,) = set(heights(svg, "#b00020"))
    assert top < limit < hundred  # less is further up
