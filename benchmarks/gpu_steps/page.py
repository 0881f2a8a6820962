"""Figures from transformers' CLIP page for ViT-L/14 on one NVIDIA A10G in float16 (PyTorch 2.3.1), for comparison.

Seconds for eager attention, FlashAttention 2 and SDPA, by the name of our case.
"""

from __future__ import annotations

GPU = "A10G"
SECONDS: dict[str, dict[str, tuple[float, float, float]]] = {
    "CLIPTextModel": {
        "4 texts": (0.009, 0.012, 0.007),
        "16 texts": (0.009, 0.014, 0.008),
        "32 texts": (0.018, 0.021, 0.016),
        "64 texts": (0.034, 0.034, 0.03),
        "128 texts": (0.063, 0.058, 0.054),
    },
    "CLIPVisionModel": {
        "1 image": (0.016, 0.013, 0.012),
        "4 images": (0.025, 0.021, 0.021),
        "16 images": (0.093, 0.075, 0.075),
        "32 images": (0.181, 0.147, 0.146),
    },
    "CLIPModel": {
        "1 image, 4 texts": (0.025, 0.026, 0.02),
        "1 image, 16 texts": (0.026, 0.028, 0.02),
        "1 image, 64 texts": (0.042, 0.046, 0.036),
        "4 images, 4 texts": (0.028, 0.033, 0.024),
        "4 images, 16 texts": (0.034, 0.035, 0.029),
        "4 images, 64 texts": (0.059, 0.055, 0.05),
        "16 images, 4 texts": (0.096, 0.088, 0.078),
        "16 images, 16 texts": (0.102, 0.09, 0.083),
        "16 images, 64 texts": (0.127, 0.11, 0.105),
        "32 images, 4 texts": (0.185, 0.159, 0.149),
        "32 images, 16 texts": (0.19, 0.162, 0.154),
        "32 images, 64 texts": (0.216, 0.181, 0.176),
    },
}
