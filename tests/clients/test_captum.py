"""captum: attributions to inputs and to a layer."""

from __future__ import annotations

import pytest
from clients.inputs import inputs

from support.tolerances import FLOAT32

attr = pytest.importorskip("captum.attr")


def test_attributions_to_pixels_and_to_an_encoder_layer(agree):
    def client(library, folder, out):
        model = library.CLIPVisionModelWithProjection.from_pretrained(folder).eval()

        def score(pixels):
            return model(pixels).image_embeds[:, 0]

        pixels = inputs(2)["pixel_values"].requires_grad_()
        return {
            "pixels": attr.Saliency(score).attribute(pixels),
            "layer": attr.LayerGradientXActivation(score, model.vision_model.encoder.layers[1].mlp).attribute(pixels),
        }

    agree(client, **FLOAT32)
