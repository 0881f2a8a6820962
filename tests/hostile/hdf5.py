"""Hostile HDF5 files. Their values would come from elsewhere, are too many, or are not numbers."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from hostile.catalogue import Hostile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAME = "clip/logit_scale:0"


def hdf5(write: Callable[[Any, Path], None]) -> Callable[[Path], Path]:
    """Return a maker of a file, into which `write` puts what is hostile."""

    def make(folder: Path) -> Path:
        import h5py

        with h5py.File(folder / "tf_model.h5", "w") as file:
            write(file, folder)
        return folder / "tf_model.h5"

    return make


def external_storage(file: Any, folder: Path) -> None:
    (folder / "secret").write_bytes(b"secret" * 10)
    file.create_dataset(NAME, (60,), "u1", external=[(str(folder / "secret"), 0, 60)])


def virtual(file: Any, folder: Path) -> None:
    import h5py

    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(6.0)
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (6,))
    file.create_virtual_dataset(NAME, layout)


def external_link(file: Any, folder: Path) -> None:
    import h5py

    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(6.0)
    file[NAME] = h5py.ExternalLink(str(folder / "other.h5"), "secret")


def gzip_bomb(file: Any, _: Path) -> None:
    data = file.create_dataset(NAME, (400, 2**20), "f4", chunks=(1, 2**20), compression="gzip", compression_opts=9)
    data[0] = 0
    file.create_dataset("clip/other:0", (64, 2**20), "f4", chunks=(1, 2**20), compression="gzip", fillvalue=0)[:] = 0


def long_chunk(file: Any, _: Path) -> None:
    """Write a chunk of 1 KB that expands to 512 MB."""
    data = file.create_dataset("clip/x/bias:0", (256,), "f4", chunks=(256,), compression="gzip")
    packer = zlib.compressobj(1)
    data.id.write_direct_chunk((0,), b"".join(packer.compress(bytes(2**23)) for _ in range(64)) + packer.flush())


def lzf(file: Any, _: Path) -> None:
    file.create_dataset("clip/x/bias:0", data=np.ones(256, np.float32), compression="lzf")


def many(file: Any, _: Path) -> None:
    import h5py

    space = h5py.h5s.create(h5py.h5s.SCALAR)
    for number in range(30_000):
        h5py.h5d.create(file.id, f"{number}".encode(), h5py.h5t.IEEE_F32LE, space)


def many_groups(file: Any, _: Path) -> None:
    import h5py

    for number in range(60_000):
        h5py.h5g.create(file.id, f"{number}".encode())


def references(file: Any, _: Path) -> None:
    import h5py

    file["target"] = 1.0
    data = file.create_dataset(NAME, (1,), h5py.ref_dtype)
    data[0] = file["target"].ref


def texts(file: Any, _: Path) -> None:
    import h5py

    file.create_dataset(NAME, data=["a", "b"], dtype=h5py.string_dtype())


def of(shape: tuple[int, ...] | None, dtype: Any, **options: Any) -> Callable[[Any, Path], None]:
    return lambda file, _: file.create_dataset(NAME, shape, dtype, **options) and None


def empty(file: Any, _: Path) -> None:
    import h5py

    file[NAME] = h5py.Empty("f4")


def named(name: str) -> Callable[[Any, Path], None]:
    return lambda file, _: file.create_dataset(name, data=np.ones(3, np.float32)) and None


def loops(file: Any, _: Path) -> None:
    group = file.create_group("clip")
    for number in range(1000):
        group[f"{number}"] = file["/"]


def nested(file: Any, _: Path) -> None:
    group = file
    for _level in range(5000):
        group = group.create_group("a")
    group["logit_scale:0"] = 1.0


def huge_chunk(file: Any, _: Path) -> None:
    file.create_dataset(NAME, (1,), "u1", maxshape=(None,), chunks=(2**31,), compression="gzip")


def truncated_values(folder: Path) -> Path:
    path = hdf5(lambda file, _: file.create_dataset(NAME, data=np.zeros(10**6, np.float32)) and None)(folder)
    path.write_bytes(path.read_bytes()[: 10**6])
    return path


def broken_gzip(folder: Path) -> Path:
    data = np.random.default_rng(0).standard_normal(10**4).astype(np.float32)
    path = hdf5(lambda file, _: file.create_dataset(NAME, data=data, compression="gzip") and None)(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    path.write_bytes(content)
    return path


FILES = [
    Hostile("external raw storage", hdf5(external_storage)),
    Hostile("a virtual dataset", hdf5(virtual)),
    Hostile("an external link", hdf5(external_link)),
    Hostile(
        "a soft link to nothing", hdf5(lambda file, _: file.__setitem__("clip/a", __import__("h5py").SoftLink("/b")))
    ),
    Hostile("a gzip bomb", hdf5(gzip_bomb)),
    Hostile("a chunk that expands to 512 MB", hdf5(long_chunk), "ValueError"),
    Hostile("lzf", hdf5(lzf), "ValueError"),
    Hostile("40 GB that were never written", hdf5(of((100, 10**8), "f4"))),
    Hostile("40 GB of chunks that were never written", hdf5(of((100, 10**8), "f4", chunks=(1, 10**6)))),
    Hostile("a chunk of 2 GB", hdf5(huge_chunk)),
    Hostile("30,000 datasets", hdf5(many)),
    Hostile("60,000 groups", hdf5(many_groups)),
    Hostile("object references", hdf5(references)),
    Hostile("texts", hdf5(texts)),
    Hostile("values without a type", hdf5(of((3,), "V4"))),
    Hostile("values with fields", hdf5(of((3,), "f4,f4"))),
    Hostile("numbers of 16 bytes", hdf5(of((3,), np.longdouble))),
    Hostile("complex numbers", hdf5(of((3,), "c8"))),
    Hostile("no shape", hdf5(empty)),
    Hostile("a name with escapes", hdf5(named("clip/\x1b[2J:0"))),
    Hostile("groups that hold each other", hdf5(loops), ""),
    Hostile("groups nested deeply", hdf5(nested)),
    Hostile("values that are cut off", truncated_values),
    Hostile("broken gzip", broken_gzip),
]
