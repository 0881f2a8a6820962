"""diffusers: a tiny Stable Diffusion with our text encoder, tokenizer, image encoder and configuration."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import image
from clients.stable_diffusion import CONTEXT, bridged, make_pipeline, save_adapter, text_parts
from safetensors.torch import save_file

from support.configs import VISION

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS = ["the cat and the dog", "a thing"]


def embed(pipeline, prompts=PROMPTS, clip_skip=None):
    """Return the embeddings of prompts and of the empty negative prompt."""
    options = {"num_images_per_prompt": 1, "do_classifier_free_guidance": True, "clip_skip": clip_skip}
    with torch.no_grad():
        return pipeline.encode_prompt(prompts, device="cpu", **options)


def generate(pipeline, **options):
    generator = torch.Generator().manual_seed(0)
    settings = {"num_inference_steps": 2, "output_type": "np", "generator": generator, **options}
    return pipeline(PROMPTS[0], **settings).images


@pytest.mark.parametrize("bridge", [bridged, lambda library, thing: thing], ids=["bridge", "as it is"])
def test_a_pipeline_generates_the_same_images(agree, bridge):
    def client(library, folder, out):
        pipeline = make_pipeline(**text_parts(library, folder, bridge))
        return {
            "embeddings": embed(pipeline),
            "skipped": embed(pipeline, clip_skip=1),
            "images": generate(pipeline),
            "images, skipped": generate(pipeline, clip_skip=1),
        }

    agree(client)


def test_both_encoders_of_sdxl_embed_prompts_alike(agree):
    def client(library, folder, out):
        first = text_parts(library, folder)
        second = bridged(library, library.CLIPTextModelWithProjection.from_pretrained(folder))
        others = {"tokenizer_2": first["tokenizer"], "text_encoder_2": second, "unet": None, "vae": None}
        pipeline = diffusers.StableDiffusionXLPipeline(**first, **others, scheduler=diffusers.DDIMScheduler())
        return {"plain": embed(pipeline), "skipped": embed(pipeline, clip_skip=1)}

    agree(client)


def test_a_pipeline_is_saved_and_loaded(agree):
    def client(library, folder, out):
        given = text_parts(library, folder)
        pipeline = make_pipeline(**given)
        pipeline.save_pretrained(out)
        plain = diffusers.StableDiffusionPipeline.from_pretrained(out)
        replaced = diffusers.StableDiffusionPipeline.from_pretrained(out, **given)
        assert replaced.text_encoder is given["text_encoder"]
        return {"saved": embed(pipeline), "loaded": embed(plain), "replaced": embed(replaced)}

    agree(client)


def test_an_encoder_saved_into_a_folder_is_loaded(agree):
    def client(library, folder, out):
        make_pipeline(**text_parts(library, folder)).save_pretrained(out)
        encoder = library.CLIPTextModel.from_pretrained(folder)
        with torch.no_grad():
            for parameter in encoder.parameters():
                parameter.mul_(0.5)
        encoder.save_pretrained(out / "text_encoder")
        library.CLIPTokenizer.from_pretrained(folder).save_pretrained(out / "tokenizer")
        return embed(diffusers.StableDiffusionPipeline.from_pretrained(out))

    agree(client)


def test_an_adapter_is_loaded_fused_and_unloaded(agree):
    def client(library, folder, out):
        save_adapter(library.CLIPTextModel.from_pretrained(folder), out)
        pipeline = make_pipeline(**text_parts(library, folder))
        found = {"plain": embed(pipeline)}
        pipeline.load_lora_weights(out, weight_name="pytorch_lora_weights.safetensors")
        found["loaded"] = embed(pipeline)
        assert not torch.equal(found["loaded"][0], found["plain"][0])
        pipeline.unload_lora_weights()
        assert torch.equal(embed(pipeline)[0], found["plain"][0])
        pipeline.load_lora_weights(out, weight_name="pytorch_lora_weights.safetensors")
        pipeline.fuse_lora()
        found["fused"] = embed(pipeline)
        pipeline.unfuse_lora()
        found["unfused"] = embed(pipeline)
        pipeline.unload_lora_weights()
        return {**found, "unloaded": embed(pipeline)}

    agree(client)


def test_textual_inversion_adds_a_token_and_removes_it(agree):
    def client(library, folder, out):
        save_file({"<cat-toy>": torch.linspace(-1, 1, 2 * CONTEXT).reshape(2, CONTEXT)}, out / "learned.safetensors")
        pipeline = make_pipeline(**text_parts(library, folder))
        plain = embed(pipeline, ["a <cat-toy>"])
        pipeline.load_textual_inversion(out, weight_name="learned.safetensors")
        learned = embed(pipeline, ["a <cat-toy>"])
        assert pipeline.tokenizer.tokenize("<cat-toy>_1") == ["<cat-toy>_1"]
        pipeline.unload_textual_inversion()
        return {"plain": plain, "learned": learned, "unloaded": embed(pipeline, ["a <cat-toy>"])}

    agree(client)


def test_the_safety_checker_takes_a_configuration_and_an_image_processor(agree):
    from diffusers.pipelines.stable_diffusion import StableDiffusionSafetyChecker

    def client(library, folder, out):
        torch.manual_seed(0)
        checker = StableDiffusionSafetyChecker(bridged(library, library.CLIPConfig.from_pretrained(folder)))
        processor = bridged(library, library.CLIPImageProcessor.from_pretrained(folder))
        pipeline = make_pipeline(safety_checker=checker, feature_extractor=processor, **text_parts(library, folder))
        pipeline.save_pretrained(out)
        again = diffusers.StableDiffusionPipeline.from_pretrained(out)
        pixels = again.feature_extractor(image(), return_tensors="pt").pixel_values
        _, flagged = again.safety_checker(clip_input=pixels, images=[pixels.numpy()])
        return {"pixels": pixels, "flagged": flagged, "weights": again.safety_checker.state_dict()}

    agree(client)


def write_ip_adapter(out):
    """Write random weights of an IP-Adapter: a projection of image embeddings, and keys and values in each layer."""
    tokens, random = 4, torch.Generator().manual_seed(0)
    shapes = {
        "image_proj.proj.weight": (tokens * CONTEXT, VISION["projection_dim"]),
        "image_proj.proj.bias": (tokens * CONTEXT,),
        "image_proj.norm.weight": (CONTEXT,),
        "image_proj.norm.bias": (CONTEXT,),
    }
    for layer in range(4):  # the cross-attentions of the U-Net: one down, two up, one in the middle
        for name in ("to_k_ip", "to_v_ip"):
            shapes[f"ip_adapter.{2 * layer + 1}.{name}.weight"] = (8, CONTEXT)
    save_file({name: torch.randn(shape, generator=random) for name, shape in shapes.items()}, out / "ip.safetensors")


def test_an_ip_adapter_takes_an_image_encoder(agree):
    def client(library, folder, out):
        write_ip_adapter(out)
        encoder = library.CLIPVisionModelWithProjection.from_pretrained(folder)
        encoder.save_pretrained(out / "image_encoder")
        processor = library.CLIPImageProcessor.from_pretrained(folder)
        parts = {"image_encoder": bridged(library, encoder), "feature_extractor": bridged(library, processor)}
        found = {}
        for name, given in {"loaded": {}, "given": parts}.items():
            pipeline = make_pipeline(**text_parts(library, folder), **given)
            pipeline.load_ip_adapter(str(out), subfolder="", weight_name="ip.safetensors")
            found[name] = generate(pipeline, ip_adapter_image=image())
        found["embeddings"] = pipeline.encode_image(image(), "cpu", 1)
        return found

    agree(client)
