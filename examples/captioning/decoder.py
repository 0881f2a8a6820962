"""Caption decoder in numpy: a small transformer that continues an embedding of CLIP with words.

The embedding, projected to a few vectors, is the prefix of the sequence, as in ClipCap (Mokady et al. 2021). Blocks are
those of GPT-2: layer norms before attention and before the perceptron, and output weights tied to the word embeddings.
`train_decoder.py` trains the same network in PyTorch; inference needs no framework.

Shapes: `rows` are hypotheses, `seq` is the prefix and the words so far.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from words import Vocabulary

from clip_core.hub.files import staged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FILE = "decoder.safetensors"
EPSILON = 1e-5  # of the layer norms


@dataclass(frozen=True)
class Settings:
    """Size and conditions of a decoder.

    Attributes:
        projection: dimensions of CLIP's embeddings.
        longest: words of the longest caption, with its end.
        hidden: width of the network.
        layers: number of blocks.
        heads: attention heads per block.
        prefix: vectors that an embedding is projected to.
        noise: standard deviation of the noise in training, per dimension.
        probe: a caption, whose embedding is stored to recognize the CLIP model.
    """

    projection: int
    longest: int
    hidden: int = 96
    layers: int = 2
    heads: int = 4
    prefix: int = 2
    noise: float = 0.0
    probe: str = ""


class State(NamedTuple):
    """Keys and values of the sequences so far, so that each step computes one position.

    Attributes:
        keys: by block, `(rows, heads, seq, head_dim)`.
        values: by block, `(rows, heads, seq, head_dim)`.
    """

    keys: list[np.ndarray]
    values: list[np.ndarray]


class Decoder:
    """A trained decoder.

    Args:
        settings: its size.
        vocabulary: its words.
        weights: float arrays by the names of `train_decoder.CaptionNetwork`, and `probe`, the embedding of
            `settings.probe`.

    Attributes:
        settings: its size.
        vocabulary: its words.
    """

    def __init__(self, settings: Settings, vocabulary: Vocabulary, weights: Mapping[str, np.ndarray]) -> None:
        self.settings, self.vocabulary = settings, vocabulary
        self.weights = {name: np.asarray(array, np.float32) for name, array in weights.items()}

    @classmethod
    def load(cls, folder: Path) -> Decoder:
        """Load a decoder from its folder.

        Raises:
            FileNotFoundError: if the folder contains none.
            ValueError: if the file is damaged, or something else.
        """
        path = folder / FILE
        if not path.is_file():
            raise FileNotFoundError(f"{path} does not exist; train a decoder with train_decoder.py, or name its folder")
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
            settings = Settings(**json.loads(metadata["settings"]))
            vocabulary = Vocabulary(tuple(json.loads(metadata["words"])))
            _check(settings, vocabulary, weights)
        except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged, or was not written by train_decoder.py ({error})") from error
        return cls(settings, vocabulary, weights)

    def save(self, folder: Path) -> None:
        """Write the decoder to a folder, in half precision."""
        metadata = {"settings": json.dumps(asdict(self.settings)), "words": json.dumps(self.vocabulary.words)}
        with staged(folder) as unfinished:
            halves = {name: array.astype(np.float16) for name, array in self.weights.items()}
            save_file(halves, unfinished / FILE, metadata=metadata)

    @property
    def probe(self) -> np.ndarray:
        """CLIP's embedding `(projection,)` of the caption `settings.probe`."""
        return self.weights["probe"]

    def start(self, embeds: np.ndarray) -> tuple[np.ndarray, State]:
        """Read embeddings.

        Args:
            embeds: of unit norm, `(rows, projection)`.

        Returns:
            Log probabilities of the first word `(rows, vocabulary)`, and the state to continue from.
        """
        settings = self.settings
        prefix = embeds @ self.weights["prefix.weight"].T + self.weights["prefix.bias"]
        hidden = prefix.reshape(len(embeds), settings.prefix, settings.hidden)
        empty = np.zeros((len(embeds), settings.heads, 0, settings.hidden // settings.heads), np.float32)
        return self._run(hidden, State([empty] * settings.layers, [empty] * settings.layers))

    def advance(self, state: State, parents: Sequence[int], words: Sequence[int]) -> tuple[np.ndarray, State]:
        """Append a word to some of the sequences.

        Args:
            state: the state of the sequences.
            parents: the rows to continue; a row may occur several times, or not at all.
            words: ids of the words to append to them.

        Returns:
            Log probabilities of the next word `(len(parents), vocabulary)`, and the new state.
        """
        rows = list(parents)
        chosen = State([keys[rows] for keys in state.keys], [values[rows] for values in state.values])
        return self._run(self.weights["words.weight"][list(words)][:, None], chosen)

    def _run(self, hidden: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Run new positions `(rows, new, hidden)` after those of the state."""
        before, new = state.keys[0].shape[2], hidden.shape[1]
        hidden = hidden + self.weights["positions.weight"][before : before + new]
        future = np.triu(np.full((new, before + new), -np.inf, np.float32), before + 1)
        keys, values = [], []
        for number in range(self.settings.layers):
            block = f"blocks.{number}"
            query, key, value = np.split(self._linear(f"{block}.project", self._norm(f"{block}.norm_1", hidden)), 3, -1)
            keys.append(np.concatenate([state.keys[number], self._heads(key)], axis=2))
            values.append(np.concatenate([state.values[number], self._heads(value)], axis=2))
            scores = self._heads(query) @ keys[-1].swapaxes(2, 3) / np.sqrt(np.float32(query.shape[-1] // self._count))
            mixed = np.exp(_log_softmax(scores + future)) @ values[-1]
            hidden = hidden + self._linear(f"{block}.merge", mixed.swapaxes(1, 2).reshape(hidden.shape))
            grown = self._linear(f"{block}.grow", self._norm(f"{block}.norm_2", hidden))
            hidden = hidden + self._linear(f"{block}.shrink", _gelu(grown))
        last = self._norm("norm", hidden[:, -1])
        return _log_softmax(last @ self.weights["words.weight"].T), State(keys, values)

    @property
    def _count(self) -> int:
        return self.settings.heads

    def _heads(self, tensor: np.ndarray) -> np.ndarray:
        rows, seq, _ = tensor.shape
        return tensor.reshape(rows, seq, self._count, -1).swapaxes(1, 2)  # (rows, heads, seq, head_dim)

    def _linear(self, name: str, tensor: np.ndarray) -> np.ndarray:
        return tensor @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, name: str, tensor: np.ndarray) -> np.ndarray:
        centred = tensor - tensor.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
        return centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def _check(settings: Settings, vocabulary: Vocabulary, weights: Mapping[str, np.ndarray]) -> None:
    """Raise a ValueError if the settings are of wrong types, or the words or the weights do not fit them."""
    for name in ("projection", "longest", "hidden", "layers", "heads", "prefix"):
        value = getattr(settings, name)
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a positive integer")
    if settings.hidden % settings.heads:
        raise ValueError(f"hidden {settings.hidden} is not a multiple of heads {settings.heads}")
    if not isinstance(settings.probe, str) or not all(isinstance(word, str) for word in vocabulary.words):
        raise ValueError("probe and words have to be strings")
    hidden, prefix = settings.hidden, settings.prefix * settings.hidden
    expected = {
        "probe": (settings.projection,),
        "words.weight": (len(vocabulary), hidden),
        "positions.weight": (settings.prefix + settings.longest - 1, hidden),
        "prefix.weight": (prefix, settings.projection),
        "prefix.bias": (prefix,),
    }
    blocks = {name.split(".")[1] for name in weights if name.startswith("blocks.")}
    if len(blocks) != settings.layers:
        raise ValueError(f"layers is {settings.layers}, but there are {len(blocks)} blocks")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} has the shape {weights[name].shape}; expected {shape}")


def _gelu(tensor: np.ndarray) -> np.ndarray:
    """Return GELU by its tanh approximation, since numpy has no error function."""
    return 0.5 * tensor * (1 + np.tanh(np.sqrt(2 / np.pi).astype(np.float32) * (tensor + 0.044715 * tensor**3)))


def _log_softmax(scores: np.ndarray) -> np.ndarray:
    shifted = scores - scores.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
