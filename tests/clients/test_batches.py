"""Libraries that move and gather batches: accelerate, PyTorch's DataLoader and DataParallel."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import image, inputs

accelerate = pytest.importorskip("accelerate")

TEXTS = ["the cat and the dog", "a thing"]


def processed(library, folder, texts=TEXTS):
    """Return a batch of texts and images, as the processor of a library gives it."""
    processor = library.CLIPProcessor.from_pretrained(folder, use_fast=False)
    images = [image(50 - place, 40) for place in range(len(texts))]
    return processor(text=texts, images=images, return_tensors="pt", padding="max_length")


def same_class(batch, changed):
    """Return the fields of a changed batch, which has to be of the class it was of."""
    assert type(changed) is type(batch)
    return dict(changed)


def devices(batch):
    """Return the devices of a batch's tensors, nested ones too."""
    kinds = [{one.device.type} if torch.is_tensor(one) else devices(one) for one in batch.values()]
    return set().union(*kinds)


@pytest.fixture
def batches(folder):
    """Return a function that makes what users move: a processor's batch, a tokenizer's, and a model's output."""

    def make(library):
        tokenizer = library.CLIPTokenizerFast.from_pretrained(folder)
        with torch.no_grad():
            output = library.CLIPModel.from_pretrained(folder).eval()(**inputs())
        return {
            "processor": processed(library, folder),
            "tokenizer": tokenizer(TEXTS, padding=True, return_tensors="pt"),
            "output": output,
        }

    return make


def test_accelerate_measures_cuts_and_joins_batches(agree, batches):
    def client(library, folder, out):
        return {
            name: {
                "size": accelerate.utils.find_batch_size(batch),
                "first": same_class(batch, accelerate.utils.operations.slice_tensors(batch, slice(0, 1))),
                "joined": same_class(batch, accelerate.utils.operations.concatenate([batch, batch])),
            }
            for name, batch in batches(library).items()
        }

    agree(client)


def test_accelerate_moves_batches(agree, batches):
    def client(library, folder, out):
        for batch in batches(library).values():
            moved = accelerate.utils.send_to_device(batch, "meta", non_blocking=True)
            assert type(moved) is type(batch)
            assert devices(moved) == {"meta"}
        moved = {name: accelerate.utils.send_to_device(batch, "cpu") for name, batch in batches(library).items()}
        return {name: dict(batch) for name, batch in moved.items()}

    agree(client)


def test_a_batch_is_moved_and_cast(agree):
    def client(library, folder, out):
        cast = processed(library, folder).to("cpu", torch.bfloat16)
        assert cast["pixel_values"].dtype == torch.bfloat16
        assert cast["input_ids"].dtype == torch.int64
        return dict(cast)

    agree(client)


class Texts(torch.utils.data.Dataset):
    """Batches of texts and images that a processor makes."""

    def __init__(self, library, folder):
        self.library, self.folder = library, folder

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return processed(self.library, self.folder, TEXTS[: 1 + index % 2])


def unbatched(rows):
    """Return the one batch of a list."""
    return rows[0]


@pytest.mark.filterwarnings("ignore")  # of processes that fork
def test_workers_send_batches(agree):
    def client(library, folder, out):
        loader = torch.utils.data.DataLoader(Texts(library, folder), num_workers=2, collate_fn=unbatched)
        return [dict(batch) for batch in loader]

    agree(client)


def test_batches_are_pinned(agree, batches, monkeypatch):
    from torch.utils.data._utils.pin_memory import pin_memory

    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)  # pinning itself needs a GPU

    def client(library, folder, out):
        made = batches(library)
        return {name: same_class(made[name], pin_memory(made[name])) for name in ("processor", "tokenizer")}

    agree(client)


def test_dataparallel_gathers_outputs(agree, batches, monkeypatch):
    from torch.nn.parallel import scatter_gather

    joined = staticmethod(lambda device, dim, *tensors: torch.cat([torch.atleast_1d(one) for one in tensors], dim))
    monkeypatch.setattr(scatter_gather.Gather, "apply", joined)  # a stand-in for the copies between GPUs

    def client(library, folder, out):
        model = library.CLIPModel.from_pretrained(folder)
        output = model(**inputs(), return_loss=True)
        return same_class(output, scatter_gather.gather([output, output], 0))

    agree(client)
