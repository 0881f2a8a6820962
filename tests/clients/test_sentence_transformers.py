"""sentence-transformers: its wrapper of CLIP, with our model and processor in it."""

from __future__ import annotations

import pytest
from clients.inputs import image

sentence_transformers = pytest.importorskip("sentence_transformers")

MIXED = ["the cat and the dog", image(), "a thing", image(30, 60)]


def wrapped(library, folder):
    """Return the wrapper, with the model and the processor of a library."""
    module = sentence_transformers.models.CLIPModel(str(folder))
    module.model = library.CLIPModel.from_pretrained(folder).eval()
    module.processor = library.CLIPProcessor.from_pretrained(folder, use_fast=False)
    return module


@pytest.mark.filterwarnings("ignore")
def test_the_wrapper_encodes_texts_and_images_saved_and_loaded(agree):
    def client(library, folder, out):
        model = sentence_transformers.SentenceTransformer(modules=[wrapped(library, folder)], device="cpu")
        found = {"mixed": model.encode(MIXED), "in batches": model.encode(MIXED, batch_size=2)}
        model.max_seq_length = 5
        found["cut"] = model.encode(["the cat and the dog and the cat"])
        model.max_seq_length = 19
        model.save(str(out))
        again = sentence_transformers.SentenceTransformer(str(out), device="cpu")
        return {**found, "loaded": again.encode(MIXED), "similar": again.similarity(found["mixed"], found["mixed"])}

    agree(client)
