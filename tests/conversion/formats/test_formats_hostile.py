"""Malformed files in every format: always a CheckpointError, never foreign memory, another error or a crash."""

from __future__ import annotations

import io
import pickle
import sys
import zipfile

import numpy as np
import pytest

from converters.checkpoint import CheckpointError, open_checkpoint
from converters.formats import format_named, torch_reading
from converters.naming.names import to_file
from support.configs import tiny_config
from support.entries import random_entries
from support.messages import naming

FORMATS = ("safetensors", "torch", "tf", "flax")


def whole(folder, name):
    """Return a file of a format, and its bytes."""
    format_ = format_named(name)
    config = tiny_config({"num_hidden_layers": 1}, {"num_hidden_layers": 1})
    path = folder / format_.file
    format_.write(path, to_file(random_entries(config, "CLIPModel", np.float16), format_.layout))
    return path, path.read_bytes()


def read_all(path):
    checkpoint = open_checkpoint(path)
    return {name: np.array(checkpoint[name]) for name in checkpoint}


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_cut_anywhere_is_refused_before_a_tensor_is_read(tmp_path, name):
    path, content = whole(tmp_path, name)
    for length in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=naming(path.name)):
            open_checkpoint(path)


@pytest.mark.parametrize("name", ["safetensors", "torch", "flax"])  # HDF5's library reads the other
def test_a_byte_changed_anywhere_gives_other_values_or_one_kind_of_error(tmp_path, name):
    path, content = whole(tmp_path, name)
    random = np.random.default_rng(0)
    places = [*random.integers(0, min(len(content), 4000), 150), *random.integers(0, len(content), 50)]
    places += [len(content) - 1 - place for place in random.integers(0, min(len(content), 4000), 100)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << random.integers(8)
        path.write_bytes(changed)
        try:
            read_all(path)
        except ValueError as error:
            assert str(error)  # noqa: PT017  reading may succeed too


def pickled(*, shape=(2, 3), stride=(3, 1), offset=0, count=6, storage="FloatStorage", extra=b""):
    """Return a file of one tensor, as PyTorch writes it, with the given header values."""

    def number(value):
        return pickle.BININT + int(value).to_bytes(4, "little", signed=True)

    def text(value):
        return pickle.BINUNICODE + len(value).to_bytes(4, "little") + value.encode()

    def numbers(values):
        return pickle.MARK + b"".join(map(number, values)) + pickle.TUPLE

    reference = text("storage") + f"ctorch\n{storage}\n".encode() + text("0") + text("cpu") + number(count)
    tensor = pickle.MARK + pickle.MARK + reference + pickle.TUPLE + pickle.BINPERSID
    tensor += number(offset) + numbers(shape) + numbers(stride) + pickle.NEWFALSE + pickle.NONE + pickle.TUPLE
    body = pickle.EMPTY_DICT + text("logit_scale") + b"ctorch._utils\n_rebuild_tensor_v2\n" + tensor + pickle.REDUCE
    return pickle.PROTO + b"\x02" + body + pickle.SETITEM + extra + pickle.STOP


def archive(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", content)
        file.writestr("model/data/0", np.arange(6, dtype=np.float32).tobytes())
    return path


def load(path):
    return torch_reading.read(path)["logit_scale"].load()


def test_a_tensor_made_by_hand_is_read(tmp_path):
    path = archive(tmp_path / "model.bin", pickled())
    assert np.array_equal(load(path), np.arange(6, dtype=np.float32).reshape(2, 3))
    path = archive(tmp_path / "model.bin", pickled(shape=(3, 2), stride=(1, 3)))
    assert np.array_equal(load(path), np.arange(6, dtype=np.float32).reshape(2, 3).T)


@pytest.mark.parametrize(
    "lie",
    [
        {"shape": (2, 4)},
        {"shape": (2**20, 2**20), "stride": (0, 2)},
        {"stride": (4, 1)},
        {"stride": (-3, 1)},
        {"stride": (-(2**30), 1)},
        {"shape": (-2, 3)},
        {"shape": (2, 3, 1)},
        {"offset": 1},
        {"offset": -6},
        {"offset": 2**30},
        {"storage": "DoubleStorage"},
    ],
    ids=str,
)
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(tmp_path, lie):
    path = archive(tmp_path / "model.bin", pickled(**lie))
    with pytest.raises(ValueError, match="storage|shape|stride"):
        load(path)


def test_a_large_shape_with_strides_of_zero_costs_no_memory(tmp_path):
    """A tensor that PyTorch has expanded: a single value of any shape."""
    path = archive(tmp_path / "model.bin", pickled(shape=(2, 3), stride=(0, 0)))
    assert np.array_equal(load(path), np.zeros((2, 3), np.float32))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02.",
        b"\x80\x02N.",
        b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.",
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02ctorch\nload\n.",
        b"\x80\x02cconverters.formats.torch_reading\nread\n.",
        b"\x80\x02(X\x07\x00\x00\x00storagetQ.",
        b"\x80\x02ctorch\nFloatStorage\n(X\x01\x00\x00\x000tR.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00)).R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(K\x01K\x01K\x01K\x01tR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02]q\x00h\x00a.",
        pickle.dumps(io.BytesIO),
    ],
    ids=repr,
)
def test_a_pickle_of_anything_else_is_refused(tmp_path, content):
    with pytest.raises(ValueError, match=r"."):
        torch_reading.read(archive(tmp_path / "model.bin", content))


@pytest.mark.parametrize("name", ["class", "call", "called", "built", "reduced"])
def test_modules_named_beside_the_weights_are_not_imported(tmp_path, monkeypatch, name):
    """A pickle by hand: what it names is on the path, and would leave a file when imported."""
    (tmp_path / "trap_module.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w').close()\ndef trap(*_): pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    trap = b"ctrap_module\ntrap\n"
    uses = {
        "class": trap,
        "call": trap + b"(X\x01\x00\x00\x001tR",
        "called": trap + b"(tR(tR",  # the result of the call is called
        "built": trap + b")\x81}X\x01\x00\x00\x00aK\x01sb",  # made without arguments, and given a state
        "reduced": b"cbuiltins\n__import__\n(X\x0b\x00\x00\x00trap_moduletR",
    }
    extra = b"X\x01\x00\x00\x00a" + uses[name] + b"s"
    assert list(torch_reading.read(archive(tmp_path / "model.bin", pickled(extra=extra)))) == ["logit_scale"]
    assert not (tmp_path / "sprung").exists()
    assert "trap_module" not in sys.modules


def test_modules_that_hold_each_other_are_refused(tmp_path):
    """A module that is its own attribute."""
    module = b"c__torch__\nModule\n)\x81q\x00}X\x01\x00\x00\x00ah\x00sb."
    with pytest.raises(ValueError, match=naming("PyTorch")):
        torch_reading.read(archive(tmp_path / "model.bin", b"\x80\x02" + module))


def test_an_archive_in_a_way_that_zip_has_not_is_refused(tmp_path):
    path = archive(tmp_path / "model.bin", pickled())
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for place, value in ((6, 99), (10, 7)):  # the version that is needed, the method of compression
        changed = content.copy()
        changed[directory + place] = value
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=naming("PyTorch")):
            torch_reading.read(path)


@pytest.mark.parametrize("inner", [b"", b"\x93", b"\x93\x91\x02", b"\x93\x91\x02\xa7float32\xc4", b"\xc4\xff", b"\xc1"])
def test_an_array_of_flaxs_that_ends_inside_is_refused(tmp_path, inner):
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(b"\x81\xabvisual_proj" + b"\xc7" + bytes([len(inner), 1]) + inner)
    with pytest.raises(ValueError, match=r"it ends|0x|array|truncated"):
        format_named("flax").read(path)
