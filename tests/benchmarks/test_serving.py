"""The rows of the server and of the stores: the targets that they judge, and inputs that are drawn from a seed."""

from __future__ import annotations

import time
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import served_rates
import serving
import stores
from checkpoints import write_processed
from comparing import DifferentOutputsError, check_same
from machine import processor_seconds
from served_rates import BATCHES, PREPARED, TASK

from clip_core.tasks import ZeroShotClassifier
from support.tolerances import FLOAT64_ROUNDING, PROCESSOR_TICKS, ROUNDING


def case(clients, ours, p99):
    return {
        "kind": "texts",
        "clients": clients,
        "inputs": 10,
        "batch_seconds": [0.1, 0.2, 0.1],
        "rates": {
            TASK: [100.0, 50.0, 80.0],
            PREPARED: [125.0, 62.5, 100.0],
            BATCHES: [80.0, 40.0, 64.0],
            "ours": ours,
        },
        "latencies": {"ours": {"p50": 0.1, "p99": p99, "requests": 3}},
        "processor_seconds": {
            TASK: [0.2, 0.1, 0.3],
            PREPARED: [0.1, 0.1, 0.4],
            BATCHES: [0.3] * 3,
            "ours": [0.3, 0.4, 0.35],
        },
        "processor_seconds_of_clients": {"ours": [0.05, 0.03, 0.07]},
    }


def test_the_server_is_judged_at_16_clients_by_the_rounds():
    rate, latency = served_rates.goals([case(4, [1.0] * 3, 9.0), case(16, [97.0, 40.0, 80.0], 0.3)])
    assert rate.measured == pytest.approx(0.97, rel=FLOAT64_ROUNDING)
    assert rate.reached
    assert latency.measured == pytest.approx(3, rel=FLOAT64_ROUNDING)
    assert not latency.reached


def test_the_table_has_a_row_for_each_server_and_number_of_clients():
    rows = served_rates.rates_table("texts", [case(1, [50.0] * 3, 0.2), case(16, [80.0] * 3, 0.2)]).rows
    assert [row[0] for row in rows] == ["1 client, ours", "16 clients, ours"]
    assert rows[1][1:] == ["80.0", "1.00", "0.80", "1.25", "100", "200", "100", "2.00"]


def test_processor_times_bound_the_share_of_the_tasks_rate(monkeypatch):
    monkeypatch.setattr(served_rates, "threads", lambda: 2)
    (row,) = served_rates.costs_table("texts", [case(16, [80.0] * 3, 0.2)]).rows
    assert row[:6] == ["16 clients, ours", "20.00", "10.00", "30.00", "35.00", "5.00"]
    assert row[6:8] == ["0.50", "0.75"]  # 20 of 40 ms, and 30
    # 10 inputs in 0.125 s less half of 0.05, 0.03 and 0.07 s, relative to 100, 50 and 80 a second
    assert row[8] == f"{10 / (0.125 - 0.035) / 80:.2f}"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processor times of other processes are Linux's")
def test_the_processor_time_of_a_process_is_read():
    before, end = processor_seconds(), time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert processor_seconds() - before == pytest.approx(0.1, **PROCESSOR_TICKS)
    assert processor_seconds(2**22 + 1) != processor_seconds(2**22 + 1)  # there is no such process


def test_texts_have_the_lengths_of_captions_and_different_embeddings(tmp_path):
    write_processed(tmp_path, quick=True)
    classifier = ZeroShotClassifier.from_pretrained(tmp_path)
    texts = serving.drawn("texts", 8)
    embeds = classifier.encode_texts(texts)
    assert len(classifier.processor.tokenizer(texts[0])["input_ids"]) == len(texts[0].split()) + 2
    for first, second in combinations(range(len(texts)), 2):  # an answer to another request is noticed
        with pytest.raises(DifferentOutputsError):
            check_same("other", {"embeddings": embeds[[first]]}, "ours", {"embeddings": embeds[[second]]})


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_equal_seeds_draw_equal_inputs(kind):
    assert serving.drawn(kind, 3) == serving.drawn(kind, 3)
    assert len(set(serving.drawn(kind, 3))) == 3


def test_stores_are_judged_beside_numpy_and_by_recall_at_a_million():
    def store(name, count, seconds, recall=1.0):
        return {"store": name, "count": count, "seconds": seconds, "recall": recall}

    found = stores.goals(
        [
            store(stores.OURS, 100_000, [0.02, 0.03, 0.04]),
            store(stores.NUMPY, 100_000, [0.01, 0.02, 0.03]),
            store(stores.LISTS, 100_000, [9.0], 0.1),
            store(stores.LISTS, 1_000_000, [0.008, 0.009, 0.02], 0.94),
        ]
    )
    assert [goal.measured for goal in found] == pytest.approx([1.5, 0.94, 0.009], rel=FLOAT64_ROUNDING)
    assert [goal.reached for goal in found] == [True, False, True]


def test_the_vectors_of_stores_are_clustered_and_of_unit_norm():
    from adapters.vector_stores import DIM, clusters, nearest

    (rows,) = clusters(400)
    assert rows.shape == (400, DIM)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(400), abs=ROUNDING)
    assert [found[0] for found in nearest(400, rows[:5])] == [0, 1, 2, 3, 4]
    scores = rows @ rows.T
    assert np.sort(scores[0])[-80] > 0.3 > np.sort(scores[0])[-150]  # about 100 in each of 4 clusters
