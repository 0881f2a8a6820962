"""On a CUDA device: the kernels of FlashAttention 2 against eager attention, forward and backward."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from clip_torch import flash_attention
from clip_torch.attention import eager_attention
from clip_torch.attention import flash_attention as attend_by_flash
from clip_torch.plan import AttentionPlan, text_plan
from support.gpu import DEVICE, REHEARSAL, relative, torch_inputs, torch_model
from support.tolerances import HALF_PRECISION

pytestmark = pytest.mark.gpu
DTYPES = [torch.float16, torch.bfloat16]
HEAD_SIZES = [12, 64, 80, 88, 104, 128]  # one that is padded, and those of ViT-B, H, g and bigG
BATCH, SEQ, HEADS = 4, 77, 3


def states(head_dim, dtype):
    generator = torch.Generator().manual_seed(0)
    made = torch.randn(3, BATCH, SEQ, HEADS, head_dim, generator=generator)
    return [one.to(DEVICE, dtype).requires_grad_() for one in made]


def attend(function, implementation, mask, head_dim, dtype):
    """Return the output and the gradients by query, key and value, at the attended tokens."""
    query, key, value = states(head_dim, dtype)
    like = torch.zeros(BATCH, SEQ, 1, dtype=dtype, device=DEVICE)
    prepared = AttentionPlan(implementation) if mask is None else text_plan(implementation, mask, like)
    output, _ = function(query, key, value, prepared, scale=head_dim**-0.5, dropout=0.0)
    if mask is not None:
        output = output * mask[:, :, None, None]
    (output.float() ** 2).sum().backward()
    return [one.detach().float().cpu().numpy() for one in (output, query.grad, key.grad, value.grad)]


MASKS = {
    "pictures": None,
    "full texts": torch.ones(BATCH, SEQ, dtype=torch.long),
    "padded texts": (torch.arange(SEQ) < torch.tensor([77, 3, 20, 41])[:, None]).long(),
}


@pytest.mark.parametrize("head_dim", HEAD_SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", MASKS)
def test_the_kernels_agree_with_eager(case, dtype, head_dim):
    mask = None if MASKS[case] is None else MASKS[case].to(DEVICE)
    expected = attend(eager_attention, "eager", mask, head_dim, torch.float32)
    found = attend(attend_by_flash, "flash_attention_2", mask, head_dim, dtype)
    for name, ours, reference in zip(("output", "query", "key", "value"), found, expected, strict=True):
        assert relative(ours, reference) < HALF_PRECISION[str(dtype).removeprefix("torch.")], name


def test_a_padded_text_equals_the_same_text_alone():
    model = torch_model("CLIPTextModel", "flash_attention_2", "float16").eval()
    ids, mask = torch_inputs("CLIPTextModel").values()
    with torch.no_grad():
        together = model(ids, attention_mask=mask).pooler_output
        for row, length in enumerate(mask.sum(-1).tolist()):
            alone = model(ids[row : row + 1, :length]).pooler_output[0]
            assert relative(together[row].cpu(), alone.cpu()) < HALF_PRECISION["float16"]


@pytest.mark.skipif(REHEARSAL, reason="a rehearsal has no GPU whose kernels refuse anything")
def test_single_precision_is_refused():
    model = torch_model("CLIPVisionModel", "flash_attention_2")
    with pytest.raises(ValueError, match=r"float16.*float32"):
        model(**torch_inputs("CLIPVisionModel"))


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is None, reason="needs the flash-attn package")
@pytest.mark.parametrize("case", MASKS)
def test_the_package_and_pytorch_compute_the_same(case, monkeypatch):
    mask = None if MASKS[case] is None else MASKS[case].to(DEVICE)
    found = []
    installed = flash_attention.kernels()
    for kernels in (installed, installed._replace(package_full=None, package_varlen=None)):
        monkeypatch.setattr(flash_attention, "_found", kernels)
        found.append(attend(attend_by_flash, "flash_attention_2", mask, 64, torch.float16))
    for ours, reference in zip(*found, strict=True):
        assert relative(ours, reference) < HALF_PRECISION["float16"]
