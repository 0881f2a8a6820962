"""diffusers: a tiny Stable Diffusion with our text encoder, tokenizer, image encoder and configuration."""

from __future__ import annotations

import pytest
import torch
from clients.inputs import image
from safetensors.torch import save_file

from support.configs import TEXT, VISION

diffusers = pytest.importorskip("diffusers")
peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore")

PROMPTS = ["the cat and the dog", "a thing"]
CONTEXT = TEXT["hidden_size"]
ATTENTION = ["q_proj", "k_proj", "v_proj", "out_proj"]


def bridged(library, thing):
    """Return what diffusers takes by `isinstance`: the counterpart of ours, or transformers' own object."""
    return library.to_transformers(thing) if hasattr(library, "to_transformers") else thing


def text_parts(library, folder, bridge=bridged):
    """Return the text encoder and the tokenizer of a pipeline."""
    encoder = library.CLIPTextModel.from_pretrained(folder)
    tokenizer = library.CLIPTokenizer.from_pretrained(folder)
    return {"text_encoder": bridge(library, encoder), "tokenizer": bridge(library, tokenizer)}


def make_pipeline(**parts):
    """Return a Stable Diffusion pipeline of random weights, those of the `parts` given."""
    torch.manual_seed(0)
    widths = {"block_out_channels": (4, 8), "norm_num_groups": 2}
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        cross_attention_dim=CONTEXT,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **widths,
    )
    vae = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, **widths
    )
    optional = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    made = diffusers.StableDiffusionPipeline(
        **{"unet": unet, "vae": vae, "scheduler": diffusers.DDIMScheduler(), **optional, **parts}
    )
    made.set_progress_bar_config(disable=True)
    return made


def embed(pipeline, prompts=PROMPTS, clip_skip=None):
    """Return the embeddings of prompts and of the empty negative prompt."""
    with torch.no_grad():
        return pipeline.encode_prompt(prompts, "cpu", 1, do_classifier_free_guidance=True, clip_skip=clip_skip)


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


def save_adapter(encoder, out):
    """Save a random LoRA that PEFT put on an encoder, as diffusers reads it."""
    from diffusers.utils import convert_state_dict_to_diffusers

    torch.manual_seed(0)
    adapted = peft.get_peft_model(encoder, peft.LoraConfig(r=2, target_modules=ATTENTION, init_lora_weights=False))
    state = peft.get_peft_model_state_dict(adapted)
    state = {name.removeprefix("base_model.model."): tensor for name, tensor in state.items()}
    layers = convert_state_dict_to_diffusers(state)
    diffusers.StableDiffusionPipeline.save_lora_weights(out, text_encoder_lora_layers=layers)


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
