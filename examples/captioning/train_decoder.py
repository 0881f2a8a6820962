"""Train a caption decoder on texts alone, in the space of a CLIP model's text embeddings (CapDec, Nukrai et al. 2022).

    python examples/captioning/train_decoder.py captions.txt decoder/ --model examples/shapes/checkpoint

The decoder learns to reconstruct each caption from its embedding, to which Gaussian noise is added. Embeddings of
images lie near those of their captions, within the noise, so the decoder can describe images without having seen any.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from command import Parser, answered, number, run
from decoder import EPSILON, Decoder, Settings
from describe import MODEL
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm
from words import END, Vocabulary, split

from clip_core import ZeroShotClassifier
from clip_core.hub.targets import check_folder
from clip_core.tasks import encode_text_batches
from clip_core.tasks.texts import TextTooLongError
from clip_core.training.settings import learning_rate

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = 3_000
BATCH_SIZE = 64
LR = 2e-3
NOISE = 0.08
_IGNORED = -100  # F.cross_entropy skips these targets
_WARM_UP = 0.05  # fraction of the steps


class _Block(nn.Module):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width = settings.hidden
        self.heads = settings.heads
        self.norm_1 = nn.LayerNorm(width, eps=EPSILON)
        self.project = nn.Linear(width, 3 * width)  # to queries, keys and values
        self.merge = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width, eps=EPSILON)
        self.grow = nn.Linear(width, 4 * width)
        self.shrink = nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        batch, seq, width = hidden.shape
        parts = self.project(self.norm_1(hidden)).view(batch, seq, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(*parts, is_causal=True)  # (batch, heads, seq, head_dim)
        hidden = hidden + self.merge(mixed.transpose(1, 2).reshape(batch, seq, width))
        return hidden + self.shrink(F.gelu(self.grow(self.norm_2(hidden)), approximate="tanh"))


class CaptionNetwork(nn.Module):
    """The network of `decoder.Decoder`, for training: the same names, and the same numbers.

    Args:
        settings: its size.
        vocabulary: number of ids.
    """

    def __init__(self, settings: Settings, vocabulary: int) -> None:
        super().__init__()
        self.settings = settings
        self.prefix = nn.Linear(settings.projection, settings.prefix * settings.hidden)
        self.words = nn.Embedding(vocabulary, settings.hidden)
        self.positions = nn.Embedding(settings.prefix + settings.longest - 1, settings.hidden)
        self.blocks = nn.ModuleList(_Block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.hidden, eps=EPSILON)
        for table in (self.words, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, embeds: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return logits of each next word, `(batch, seq, vocabulary)`.

        Args:
            embeds: `(batch, projection)`, of unit norm.
            ids: the captions with their ends, `(batch, seq)`; the words before each one predict it.
        """
        prefix = self.prefix(embeds).view(len(embeds), self.settings.prefix, self.settings.hidden)
        hidden = torch.cat([prefix, self.words(ids[:, :-1])], dim=1)
        hidden = hidden + self.positions.weight[: hidden.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.norm(hidden[:, self.settings.prefix - 1 :]) @ self.words.weight.T


def noisy(embeds: torch.Tensor, noise: float, generator: torch.Generator) -> torch.Tensor:
    """Return embeddings with Gaussian noise, of unit norm again.

    Args:
        embeds: `(batch, projection)`, of unit norm.
        noise: standard deviation in each dimension.
        generator: the source of the noise.
    """
    return F.normalize(embeds + noise * torch.randn(embeds.shape, generator=generator), dim=-1)


def train(
    embeds: np.ndarray,
    captions: Sequence[str],
    *,
    steps: int = STEPS,
    batch_size: int = BATCH_SIZE,
    lr: float = LR,
    noise: float = NOISE,
    seed: int = 0,
    **sizes: int,
) -> Decoder:
    """Train a decoder.

    Args:
        embeds: the text embeddings of the captions `(captions, projection)`, of unit norm.
        captions: the captions.
        steps: number of steps.
        batch_size: captions per step.
        lr: highest learning rate: reached after a warm-up, and followed by a cosine to zero.
        noise: standard deviation of the noise in each dimension.
        seed: seed of the initial weights, the order and the noise.
        **sizes: sizes of the network, as in `Settings`.
    """
    vocabulary = Vocabulary.from_captions(captions)
    rows = [vocabulary.encode(caption) for caption in captions]
    settings = Settings(embeds.shape[1], max(map(len, rows)), noise=noise, probe=captions[0], **sizes)
    targets = torch.full((len(rows), settings.longest), _IGNORED)
    for place, row in enumerate(rows):
        targets[place, : len(row)] = torch.tensor(row)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = CaptionNetwork(settings, len(vocabulary))
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    rate = partial(learning_rate, steps=steps, peak=1.0, warmup=max(1, int(_WARM_UP * steps)))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    inputs = torch.from_numpy(embeds)
    progress = tqdm(range(steps), desc="training", unit="step")
    for step in progress:
        chosen = torch.randint(len(rows), (batch_size,), generator=generator)
        wanted = targets[chosen]
        wanted = wanted[:, : int((wanted != _IGNORED).sum(1).max())]
        logits = network(noisy(inputs[chosen], noise, generator), wanted.clamp(min=END))
        loss = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=_IGNORED)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    return Decoder(settings, vocabulary, weights | {"probe": embeds[0]})


def read_captions(path: Path) -> list[str]:
    """Return the lines of a text file that contain a word.

    Args:
        path: a text file in UTF-8, with a caption on each line.

    Raises:
        ValueError: if the file is not text, or contains no captions.
    """
    try:
        captions = [line for line in path.read_text(encoding="utf-8").splitlines() if split(line)]
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error}); give a file with a caption on each line") from error
    if not captions:
        raise ValueError(f"{path} contains no captions; give a text file with a caption on each line")
    return captions


def embed(captions: Sequence[str], model: str) -> np.ndarray:
    """Return the text embeddings of captions `(captions, projection)`, of unit norm, and show the progress.

    Args:
        captions: the captions.
        model: the CLIP model: a folder or a hub id.
    """
    classifier = ZeroShotClassifier.from_pretrained(model, backend="torch")
    embeds = []
    with tqdm(total=len(captions), desc="encoding", unit="caption", delay=1) as progress:
        try:
            for batch in encode_text_batches(classifier.encoder, classifier.processor, captions):
                embeds.append(batch)
                progress.update(len(batch))
        except TextTooLongError as error:
            raise error.advising("shorten the caption") from None
    return np.concatenate(embeds)


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, train, and write the decoder."""
    parser = Parser(prog="train_decoder.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("captions", type=Path, help="a text file with a caption on each line")
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--model", default=str(MODEL), help="a CLIP model: a folder or a hub id")
    parser.add_argument("--steps", type=number(int, 1), default=STEPS, help=f"number of steps ({STEPS})")
    parser.add_argument(
        "--batch-size", type=number(int, 1), default=BATCH_SIZE, help=f"captions per step ({BATCH_SIZE})"
    )
    parser.add_argument("--lr", type=number(float, 0, above=True), default=LR, help=f"highest learning rate ({LR})")
    parser.add_argument(
        "--noise", type=number(float, 0), default=NOISE, help=f"standard deviation of the noise ({NOISE})"
    )
    parser.add_argument("--seed", type=number(int, 0), default=0)
    given = parser.parse_args(arguments)

    def learn() -> None:
        captions = read_captions(given.captions)
        check_folder("folder", given.folder)  # before the work, not after it
        decoder = train(
            embed(captions, given.model),
            captions,
            steps=given.steps,
            batch_size=given.batch_size,
            lr=given.lr,
            noise=given.noise,
            seed=given.seed,
        )
        decoder.save(given.folder)
        print(f"{given.folder}: a decoder of {len(decoder.vocabulary)} words")

    return answered(learn, "train_decoder.py")


if __name__ == "__main__":
    run(main, "train_decoder.py")
