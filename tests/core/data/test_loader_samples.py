"""Broken samples, long captions and random choices of the loader."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from clip_core.data import PairLoader
from clip_core.data.batches import BrokenSamplesError
from support.messages import mentions, naming
from support.training_data import keys, make_processor, picture_bytes, rows_of, taken, write_folder


def test_broken_samples_are_replaced_and_leave_the_number_of_batches_as_it_is(processor):
    rows = rows_of(20)
    rows[3]["image"] = b"no picture"
    rows[4]["text"] = " "
    shares = [PairLoader(rows, processor, batch_size=5, process_index=index, process_count=2) for index in range(2)]
    batches = [len(taken(loader)) for loader in shares]
    assert batches == [2, 2]


def test_broken_samples_are_counted_told_and_skipped(processor, folder, tmp_path, caplog):
    write_folder(tmp_path, 6)
    (tmp_path / "001.png").write_bytes(b"no picture")
    (tmp_path / "003.png").write_bytes((tmp_path / "003.png").read_bytes()[:60])
    (tmp_path / "004.txt").write_text("\n")
    loader = PairLoader(tmp_path, processor, batch_size=2, shuffle=False, drop_last=False, max_broken=3)
    assert keys(taken(loader, 1)) == ["000", "002"]
    assert [sample.key for sample in loader.broken] == [str(tmp_path / "001.png")]
    assert keys(taken(loader)) == ["005"]
    assert len(loader.broken) == 3  # reported after the epoch, and reset with the next
    assert keys(taken(loader, 1)) == ["000", "002"]
    assert len(loader.broken) == 1
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert mentions(warnings[0], tmp_path / "001.png", "Pillow")
    assert mentions(caplog.text, tmp_path / "003.png", "004.txt")


def test_one_broken_sample_too_many_is_an_error_that_lists_the_first(processor):
    rows = [{**row, "text": ""} for row in rows_of(12)]
    with pytest.raises(BrokenSamplesError, match=naming(8, "max_broken=7", "row 0", "row 4")):
        taken(PairLoader(rows, processor, batch_size=2, shuffle=False, max_broken=7))
    with pytest.raises(BrokenSamplesError, match=naming(1, "max_broken=0", "row 0")):
        taken(PairLoader(rows, processor, batch_size=2, num_workers=1, max_broken=0))


def test_a_state_counts_the_broken_samples_before_its_batch_alone(processor):
    rows = rows_of(8)
    rows[0]["text"] = rows[7]["text"] = ""
    loader = PairLoader(rows, processor, batch_size=2, shuffle=False)
    taken(loader, 1)
    ((key, reason),) = loader.state_dict()["broken"]
    assert key == "row 0"
    assert mentions(reason, "caption")
    assert loader.state_dict()["taken"] == 3


def test_an_epoch_that_ends_in_broken_samples_is_over_all_the_same(processor):
    rows = rows_of(6)
    rows[4]["text"] = rows[5]["text"] = ""
    loader = PairLoader(rows, processor, batch_size=2, shuffle=False, drop_last=False)
    assert [len(taken(loader)) for _ in range(2)] == [2, 2]
    assert (loader.epoch, len(loader.broken), loader.state_dict()["epoch"]) == (1, 2, 2)


def test_longer_captions_are_cut_counted_and_told(processor, caplog):
    rows = rows_of(4)
    rows[1]["text"] = rows[2]["text"] = "a very long caption that does not fit"
    loader = PairLoader(rows, processor, batch_size=2, shuffle=False)
    batches = taken(loader)
    (record,) = [record for record in caplog.records if mentions(record.message, 12)]
    assert mentions(record.message, "row 1")
    assert batches[0]["input_ids"][1, -1] == processor.tokenizer.eos_token_id
    loader = PairLoader(rows, processor, batch_size=2, shuffle=False)
    taken(loader, 1)
    assert loader.truncated == loader.state_dict()["truncated"] == 1


def test_max_length_is_the_tokenizers_unless_given(processor, folder):
    batch = taken(PairLoader(folder, processor, batch_size=2, max_length=6), 1)[0]
    assert batch["input_ids"].shape == (2, 6)
    with pytest.raises(ValueError, match=naming("max_length=2", 3)):
        PairLoader(folder, processor, batch_size=2, max_length=2)


def test_a_tokenizer_without_a_length_needs_max_length(tmp_path, folder):
    processor = make_processor(tmp_path)
    processor.tokenizer.model_max_length = int(1e30)
    with pytest.raises(ValueError, match=naming("max_length")):
        PairLoader(folder, processor, batch_size=2)


def test_one_of_several_captions_is_drawn_anew_in_each_epoch(processor):
    rows = [{"image": picture_bytes(number), "text": ["cat", "dog", "the in"]} for number in range(16)]
    loader = PairLoader(rows, processor, batch_size=16)
    first, second = (next(iter(loader))["input_ids"] for _ in range(2))
    assert len(np.unique(first, axis=0)) > 1
    assert not np.array_equal(first, second)
