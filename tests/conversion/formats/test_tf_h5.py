"""TensorFlow's HDF5 files: a round trip, and the refusal of truncated files."""

from __future__ import annotations

import errno
import os
import re

import h5py
import ml_dtypes
import numpy as np
import pytest

from converters.formats import tf_h5
from converters.naming.names import to_file
from converters.naming.rules import TENSORFLOW
from support.configs import tiny_config
from support.entries import assert_same, entry, random_entries
from support.limits import largest_file
from support.messages import naming


def tensors(dtype=np.float32, **config):
    return to_file(random_entries(tiny_config(**config), dtype=dtype), TENSORFLOW)


def full_names(names, prefix="tfclip_model/"):
    return {f"{prefix}clip/{name}:0": value for name, value in names.items()}


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_what_is_written_is_read_back_bit_for_bit(tmp_path, dtype):
    written = tensors(dtype)
    tf_h5.write(tmp_path / "tf_model.h5", written)
    assert_same(tf_h5.read(tmp_path / "tf_model.h5"), full_names(written))
    shard = tmp_path / "tf_model-00001-of-00002.h5"
    tf_h5.write(shard, written)
    assert_same(tf_h5.read(shard), full_names(written, ""))


def test_a_single_file_is_laid_out_as_keras_does(tmp_path):
    written = tensors()
    tf_h5.write(tmp_path / "tf_model.h5", written)
    with h5py.File(tmp_path / "tf_model.h5") as file:
        assert list(file.attrs["layer_names"]) == [b"clip"]
        assert [name.decode() for name in file["clip"].attrs["weight_names"]] == list(full_names(written))
        assert file["clip/tfclip_model/clip/logit_scale:0"].shape == (1,)
        assert len(file["top_level_model_weights"].attrs["weight_names"]) == 0


@pytest.mark.parametrize("size", [100, 3_000, 40_000])
def test_a_full_disk_is_an_error_and_not_a_crash(tmp_path, size):
    """HDF5 crashes when it closes a file whose writes failed."""
    with largest_file(size), pytest.raises(OSError, match=re.escape(os.strerror(errno.EFBIG))):
        tf_h5.write(tmp_path / "tf_model.h5", tensors())


def test_a_classifiers_head_is_a_layer_of_its_own(tmp_path):
    written = to_file(random_entries(tiny_config(num_labels=3), "CLIPForImageClassification"), TENSORFLOW)
    tf_h5.write(tmp_path / "tf_model.h5", written)
    found = tf_h5.read(tmp_path / "tf_model.h5")
    assert found["tfclip_model/classifier/kernel:0"].shape == (36, 3)
    assert len(found) == len(written)


def test_a_list_of_names_too_long_for_one_attribute_is_cut(tmp_path):
    written = tensors(text={"num_hidden_layers": 60})
    tf_h5.write(tmp_path / "tf_model.h5", written)
    with h5py.File(tmp_path / "tf_model.h5") as file:
        pieces = [name for name in file["clip"].attrs if name.startswith("weight_names")]
        assert len(pieces) > 1
        assert sum(len(file["clip"].attrs[piece]) for piece in pieces) == len(written)
    assert_same(tf_h5.read(tmp_path / "tf_model.h5"), full_names(written))


def test_tensors_are_views_of_the_mapped_file_that_can_be_written_to_without_changing_it(tmp_path):
    path = tmp_path / "tf_model.h5"
    tf_h5.write(path, {"logit_scale": entry(np.zeros(64, np.float32))})
    before = path.read_bytes()
    view = tf_h5.read(path)["tfclip_model/clip/logit_scale:0"].load()
    assert view.flags.aligned
    assert not view.flags.owndata
    view[:] = 1
    assert path.read_bytes() == before


@pytest.mark.parametrize("options", [{"compression": "gzip"}, {"chunks": (2, 3)}, {"dtype": ">f4"}])
def test_tensors_that_do_not_lie_in_one_piece_are_read_too(tmp_path, options):
    array = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.create_dataset("text_projection/kernel:0", data=array, **options)
    found = tf_h5.read(tmp_path / "odd.h5")["text_projection/kernel:0"]
    assert found.dtype == np.float32
    assert_same({"": found}, {"": array})


def test_empty_tensors(tmp_path):
    tf_h5.write(tmp_path / "tf_model.h5", {"text_projection/kernel": entry(np.zeros((0, 3), np.float32))})
    assert tf_h5.read(tmp_path / "tf_model.h5")["tfclip_model/clip/text_projection/kernel:0"].load().shape == (0, 3)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "tf_model.h5"
    tf_h5.write(path, tensors())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=naming("HDF5")):
        tf_h5.read(path)


def test_a_dtype_that_the_format_lacks_is_refused_by_name_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=naming("logit_scale", "bfloat16", "HDF5", "float32")):
        tf_h5.write(tmp_path / "tf_model.h5", tensors(ml_dtypes.bfloat16))
    assert not (tmp_path / "tf_model.h5").exists()
