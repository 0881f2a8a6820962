"""Reports, slopes, targets and other values computed from measurements."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
from flops import image_flops, text_flops
from goals import at_least, at_most
from interleaved import Ratio
from matplotlib.axes import Axes
from plots import bars, curves, relative_curves, spread_apart
from report import Report, Table, milliseconds
from run import row_numbers
from slopes import fit

from clip_core.configuration import CLIPConfig
from support.messages import mentions, naming
from support.tolerances import FLOAT64_ROUNDING, NAMES_APART, PUBLISHED_OPERATIONS


def test_a_slope_is_the_exponent_of_a_power_law():
    sizes = [1, 2, 4, 256]
    slope = fit(sizes, [3 * size**1.5 for size in sizes])
    assert slope == pytest.approx((1.5, 3.0), rel=FLOAT64_ROUNDING)
    assert slope.at(16) == pytest.approx(192, rel=FLOAT64_ROUNDING)


@pytest.mark.parametrize(("sizes", "costs"), [([2, 2], [1, 1]), ([1, 2], [0, 1]), ([0, 1], [1, 2]), ([1], [1])])
def test_a_slope_takes_two_sizes_and_costs_above_0(sizes, costs):
    with pytest.raises(ValueError, match=naming("sizes", "costs", 0)):
        fit(sizes, costs)


def test_a_goal_missed_says_why():
    assert mentions(str(at_most("Time", 1.2, 1.0, why="late")), "20%", "(late)")
    assert not mentions(str(at_most("Time", 0.9, 1.0, why="late")), "late")


def test_a_goal_missed_says_by_how_much():
    assert mentions(str(at_most("Start", 0.45, 0.3, " s")), "Start", "at most 0.3 s", "0.45 s", "50%")
    assert mentions(str(at_least("Rate", 0.45, 0.9)), "Rate", "at least 0.9", 0.45, "50%")
    assert str(at_most("Start", 0.3, 0.3)).endswith("reached")
    assert at_least("Rate", 0.91, 0.9).reached


def test_a_goal_missed_within_the_noise_says_so():
    unsure, clear = Ratio((0.98, 1.05, 1.1)), Ratio((1.01, 1.05, 1.1))
    told = [str(at_most("Ratio", one, 1.0)) for one in (unsure, clear)]
    assert mentions(told[0], "Ratio", "at most 1", 1.05, "(0.98 to 1.1)", "5%", "noise")
    assert mentions(told[1], "5%")
    assert not mentions(told[1], "noise")
    assert mentions(str(at_most("Ratio", 1.0047, 1.0)), "at most 1", 1.005, "0.5%")
    assert str(at_most("Ratio", 1.00004, 1.0)).endswith("measured 1: missed by 0.004%")
    assert str(at_least("Rate", unsure, 1.0)).endswith("measured 1.05 (0.98 to 1.1): reached")


def test_a_report_is_written_as_json_markdown_and_plot(tmp_path):
    report = Report(
        "forward",
        "Forward",
        "What was measured.",
        tables=[Table(["ms", "1"], [["ours", milliseconds(0.0123, 0.04)]], "Images")],
        measurements=[{"median": 0.0123}],
        goals=[at_most("Ratio", 1.2, 1.0)],
        notes=["open_clip was left out: no environment"],
        versions={"numpy": "9.9"},
        plot=lambda path: bars(path, "Ratios", "times", {"ours": 1.0, "peer": 2.0}, line=1.0),
    )
    written = {path.name: path for path in report.write(tmp_path / "results")}
    assert list(written) == ["forward.json", "forward.md", "forward.png"]
    content = json.loads(written["forward.json"].read_text())
    assert content["measurements"] == [{"median": 0.0123}]
    assert content["goals"][0] | {"reached": False, "measured": 1.2} == content["goals"][0]
    assert {"processor", "cores", "memory", "system", "python"} == content["machine"].keys()
    text = written["forward.md"].read_text()
    assert "### Images\n\n| ms | 1 |\n|---|---:|\n| ours | 12.3 (±4%) |" in text.replace("| --- | ---: |", "|---|---:|")
    for part in (
        "| Ratio | at most 1 | 1.2 | missed by 20% |",
        "- open_clip was",
        "numpy 9.9",
        content["date"],
        "![Forward](forward.png)",
    ):
        assert part in text
    assert written["forward.png"].read_bytes().startswith(b"\x89PNG")


def test_a_report_read_from_its_json_file_gives_the_same_page(tmp_path):
    report = Report(
        "forward",
        "Forward",
        "What was measured.",
        tables=[Table(["ms", "1"], [["ours", "12.3"]], "Images")],
        measurements=[{"median": 0.0123}],
        goals=[at_most("Ratio", Ratio((1.01, 1.05, 1.1)), 1.0), at_least("Rate", 0.45, 0.9, " s", "it was late")],
        notes=["open_clip was left out: no environment"],
        versions={"numpy": "9.9"},
    )
    written, page = report.write(tmp_path)
    again = Report.read(written)
    assert again == report
    assert again.markdown() == page.read_text()


def test_a_report_counts_the_targets_that_were_reached():
    close = at_most("Ratio", Ratio((0.98, 1.05, 1.1)), 1.0)
    report = Report("a", "A", "", goals=[at_least("Rate", 1.0, 0.9), close, at_most("Start", 0.45, 0.3)])
    assert mentions(report.markdown(), "1 of 3", "; 1 of")
    assert "1 of 1 reached.\n" in Report("a", "A", "", goals=report.goals[:1]).markdown()


def test_a_quick_check_says_that_its_times_say_nothing():
    quick, whole = (Report("a", "A", "", quick=quick).markdown() for quick in (True, False))
    assert mentions(quick, "turns")
    assert not mentions(whole, "turns")


def test_curves_name_their_slopes(tmp_path, monkeypatch):
    labels = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.legend", lambda axes, **_: labels.extend(line.get_label() for line in axes.lines)
    )
    lines = {"ours-torch": ([1, 2, 4], [1, 4, 16]), "single": ([1], [1])}
    curves(tmp_path / "growth.png", {"Batch": ("batch", "ms", lines)}, slopes=True)
    assert {"ours-torch, slope 2.00", "single"} <= set(labels)
    assert (tmp_path / "growth.png").stat().st_size > 0


def test_relative_curves_name_each_line_at_its_end_and_need_no_legend(tmp_path, monkeypatch):
    named = {}
    annotate = Axes.annotate

    def record(axes, text, xy, **keywords):
        named[text] = xy[1]
        return annotate(axes, text, xy, **keywords)

    monkeypatch.setattr(Axes, "annotate", record)
    monkeypatch.setattr(Axes, "legend", lambda *_, **__: pytest.fail("there is a legend"))
    lines = {"fast": ([1, 2, 4], [0.6, 0.7, 0.75]), "slow": ([1, 4], [0.9, 1.0])}
    relative_curves(
        tmp_path / "ratios.png",
        {"Images": ("batch size", lines)},
        up="ratio",
        baseline="peer",
        styles={"fast": {"color": "C0"}, "slow": {"color": "C1"}},
        limits=(0.5, 1.1),
    )
    assert named.keys() == {"fast", "slow", "peer"}
    assert named["fast"] == pytest.approx(0.75, rel=FLOAT64_ROUNDING)
    assert abs(named["slow"] - named["peer"]) > NAMES_APART  # both end at 1, and their names must not overlap
    assert (tmp_path / "ratios.png").stat().st_size > 0


def test_heights_are_spread_apart_around_where_they_were():
    assert spread_apart([3.0, 1.0, 2.0], 0.5) == [3.0, 1.0, 2.0]
    assert spread_apart([1.0, 1.0], 0.5) == [0.75, 1.25]
    assert spread_apart([1.4, 1.0, 1.1, 5.0], 0.5) == pytest.approx([5 / 3, 2 / 3, 7 / 6, 5.0], rel=FLOAT64_ROUNDING)


def test_flops_are_those_of_vit_b_32():
    config = CLIPConfig()
    # 4.4 GMACs, as is published of it.
    assert image_flops(config) == pytest.approx(8.8e9, rel=PUBLISHED_OPERATIONS["image"])
    assert text_flops(config, 77) == pytest.approx(5.9e9, rel=PUBLISHED_OPERATIONS["text"])


def test_rows_are_chosen_by_number():
    assert row_numbers("5,1") == [5, 1]
    with pytest.raises(argparse.ArgumentTypeError, match=naming("'16'", "1,2,3,4,5,6,7,9,10,11,12,13,14,15")):
        row_numbers("5,16")


def test_the_same_seed_draws_the_same_checkpoint(tmp_path):
    from checkpoints import TINY, write_random
    from safetensors.numpy import load_file

    for name in "ab":
        size = write_random(tmp_path / name, CLIPConfig(**TINY))
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in "ab")
    assert sum(array.nbytes for array in first.values()) == size
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])
