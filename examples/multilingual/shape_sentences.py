"""Sentences about coloured shapes in English, German, Spanish, French and Japanese, to distil from and to test on.

    python examples/multilingual/shape_sentences.py build/multilingual-shapes

Grammars of four languages translate the scenes of the shapes example, with agreement in gender and number, and with
Japanese counters. The teacher is the demo's CLIP. Pairs of colour and shape that it never saw are held out here, too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).parents[1] / "captioning"))
sys.path.append(str(Path(__file__).parents[1] / "shapes"))

import numpy as np
from captions import short_caption
from command import Parser, answered, number, run
from drawing import draw
from parallel_texts import Pair, Row, write_pairs, write_rows
from scenes import COLOURS, HELD_OUT, NUMBERS, SEEN, SHAPES, Scene, draw_scene
from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable

COUNT = 1_000  # drawings of each kind
# The singular and plural of each shape, and its gender; in German, as the ending of a colour after "ein" or "eine".
GERMAN = {
    "circle": ("Kreis", "Kreise", "er"),
    "square": ("Quadrat", "Quadrate", "es"),
    "triangle": ("Dreieck", "Dreiecke", "es"),
    "star": ("Stern", "Sterne", "er"),
    "heart": ("Herz", "Herzen", "es"),
    "diamond": ("Raute", "Rauten", "e"),
    "arrow": ("Pfeil", "Pfeile", "er"),
    "cross": ("Kreuz", "Kreuze", "es"),
    "ring": ("Ring", "Ringe", "er"),
    "crescent": ("Mondsichel", "Mondsicheln", "e"),
}
GERMAN_COLOURS = dict(
    zip(COLOURS, ("rot", "grün", "blau", "gelb", "orange", "lila", "rosa", "braun", "schwarz", "türkis"), strict=True)
)
_UNDECLINED = {"orange", "lila", "rosa"}
SPANISH = {
    "circle": ("círculo", "círculos", "m"),
    "square": ("cuadrado", "cuadrados", "m"),
    "triangle": ("triángulo", "triángulos", "m"),
    "star": ("estrella", "estrellas", "f"),
    "heart": ("corazón", "corazones", "m"),
    "diamond": ("rombo", "rombos", "m"),
    "arrow": ("flecha", "flechas", "f"),
    "cross": ("cruz", "cruces", "f"),
    "ring": ("anillo", "anillos", "m"),
    "crescent": ("media luna", "medias lunas", "f"),
}
# The masculine singular, the feminine singular, and the plurals of both.
SPANISH_COLOURS = {
    "red": ("rojo", "roja", "rojos", "rojas"),
    "green": ("verde", "verde", "verdes", "verdes"),
    "blue": ("azul", "azul", "azules", "azules"),
    "yellow": ("amarillo", "amarilla", "amarillos", "amarillas"),
    "orange": ("naranja", "naranja", "naranjas", "naranjas"),
    "purple": ("morado", "morada", "morados", "moradas"),
    "pink": ("rosa", "rosa", "rosas", "rosas"),
    "brown": ("marrón", "marrón", "marrones", "marrones"),
    "black": ("negro", "negra", "negros", "negras"),
    "turquoise": ("turquesa", "turquesa", "turquesas", "turquesas"),
}
FRENCH = {
    "circle": ("cercle", "cercles", "m"),
    "square": ("carré", "carrés", "m"),
    "triangle": ("triangle", "triangles", "m"),
    "star": ("étoile", "étoiles", "f"),
    "heart": ("cœur", "cœurs", "m"),
    "diamond": ("losange", "losanges", "m"),
    "arrow": ("flèche", "flèches", "f"),
    "cross": ("croix", "croix", "f"),
    "ring": ("anneau", "anneaux", "m"),
    "crescent": ("croissant", "croissants", "m"),
}
FRENCH_COLOURS = {
    "red": ("rouge", "rouge", "rouges", "rouges"),
    "green": ("vert", "verte", "verts", "vertes"),
    "blue": ("bleu", "bleue", "bleus", "bleues"),
    "yellow": ("jaune", "jaune", "jaunes", "jaunes"),
    "orange": ("orange", "orange", "orange", "orange"),
    "purple": ("violet", "violette", "violets", "violettes"),
    "pink": ("rose", "rose", "roses", "roses"),
    "brown": ("marron", "marron", "marron", "marron"),
    "black": ("noir", "noire", "noirs", "noires"),
    "turquoise": ("turquoise", "turquoise", "turquoise", "turquoise"),
}
JAPANESE = dict(
    zip(SHAPES, ("丸", "四角", "三角", "星", "ハート", "ひし形", "矢印", "十字", "輪", "三日月"), strict=True)
)
JAPANESE_COLOURS = dict(
    zip(
        COLOURS,
        ("赤い", "緑の", "青い", "黄色い", "オレンジ色の", "紫の", "ピンクの", "茶色の", "黒い", "青緑の"),
        strict=True,
    )
)
_COUNTS = {
    "de": dict(zip(NUMBERS[1:], ("zwei", "drei", "vier"), strict=True)),
    "es": dict(zip(NUMBERS[1:], ("dos", "tres", "cuatro"), strict=True)),
    "fr": dict(zip(NUMBERS[1:], ("deux", "trois", "quatre"), strict=True)),
    "ja": dict(zip(NUMBERS, ("一つ", "二つ", "三つ", "四つ"), strict=True)),
}


def in_german(scene: Scene) -> str:
    """Return number, colour and shape, such as "zwei rote Sterne".

    Args:
        scene: the scene.
    """
    singular, plural, ending = GERMAN[scene.shape]
    colour = GERMAN_COLOURS[scene.colour]
    is_declined = colour not in _UNDECLINED
    if scene.number == NUMBERS[0]:
        return f"{'eine' if ending == 'e' else 'ein'} {colour}{ending if is_declined else ''} {singular}"
    return f"{_COUNTS['de'][scene.number]} {colour}{'e' if is_declined else ''} {plural}"


def in_spanish(scene: Scene) -> str:
    """Return number, colour and shape, such as "dos estrellas rojas".

    Args:
        scene: the scene.
    """
    return _in_romance(scene, SPANISH, SPANISH_COLOURS, ("un", "una"), _COUNTS["es"])


def in_french(scene: Scene) -> str:
    """Return number, colour and shape, such as "deux étoiles rouges".

    Args:
        scene: the scene.
    """
    return _in_romance(scene, FRENCH, FRENCH_COLOURS, ("un", "une"), _COUNTS["fr"])


def _in_romance(
    scene: Scene,
    shapes: dict[str, tuple[str, str, str]],
    colours: dict[str, tuple[str, str, str, str]],
    articles: tuple[str, str],
    counts: dict[str, str],
) -> str:
    singular, plural, gender = shapes[scene.shape]
    is_feminine = gender == "f"
    one, several = colours[scene.colour][is_feminine::2]
    if scene.number == NUMBERS[0]:
        return f"{articles[is_feminine]} {singular} {one}"
    return f"{counts[scene.number]} {plural} {several}"


def in_japanese(scene: Scene) -> str:
    """Return number, colour and shape, such as "二つの赤い星".

    Args:
        scene: the scene.
    """
    return f"{_COUNTS['ja'][scene.number]}の{JAPANESE_COLOURS[scene.colour]}{JAPANESE[scene.shape]}"


LANGUAGES: dict[str, Callable[[Scene], str]] = {
    "en": short_caption,
    "de": in_german,
    "es": in_spanish,
    "fr": in_french,
    "ja": in_japanese,
}
# Sentences with a scene's phrase; each language has as many.
SENTENCES = {
    "en": ("{}", "a picture of {}", "this is {}"),
    "de": ("{}", "ein Bild: {}", "das ist {}"),
    "es": ("{}", "una imagen de {}", "esto es {}"),
    "fr": ("{}", "une image : {}", "voici {}"),
    "ja": ("{}", "{}の絵", "これは{}です"),
}


def grid(pairs: tuple[tuple[str, str], ...]) -> list[Scene]:
    """Return a scene for each number and each pair of colour and shape.

    Args:
        pairs: pairs of colour and shape.
    """
    return [Scene(*pair, "large", count, "centre", "white", "plain") for pair in pairs for count in NUMBERS]


def parallel() -> list[Pair]:
    """Return all sentences about the pairs of colour and shape that the teacher saw, English with each language."""
    return [
        Pair(SENTENCES["en"][kind].format(short_caption(scene)), sentences[kind].format(LANGUAGES[language](scene)))
        for scene in grid(SEEN)
        for language, sentences in SENTENCES.items()
        for kind in range(len(sentences))
    ]


def write(folder: Path, count: int, seed: int) -> None:
    """Write `parallel.tsv`, to train on; and `test.jsonl` with `pictures/`, drawings of trained and held-out pairs.

    Args:
        folder: the folder to write to.
        count: drawings of each kind.
        seed: seed of the drawings.
    """
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    rows = []
    with tqdm(total=2 * count, desc="drawing", unit="image") as progress:
        for kind, pairs in enumerate((SEEN, HELD_OUT)):
            random = np.random.default_rng([seed, kind, 3])  # other numbers than the shapes example's
            for place in range(count):
                scene = draw_scene(random, pairs)
                name = f"{'held-out' if kind else 'trained'}-{place:05}.png"
                draw(scene, random).save(pictures / name)
                texts = {language: tell(scene) for language, tell in LANGUAGES.items()}
                rows.append(Row(f"{pictures.name}/{name}", bool(kind), texts))
                progress.update()
    write_rows(folder / "test.jsonl", rows)
    pairs = parallel()
    write_pairs(folder / "parallel.tsv", pairs)
    print(f"{folder}: {len(pairs)} pairs of texts in {len(LANGUAGES)} languages, and {len(rows)} drawings")


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, and write the sentences and drawings."""
    parser = Parser(prog="shape_sentences.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="the folder to write to")
    parser.add_argument("--count", type=number(int, 1), default=COUNT, help=f"drawings of each kind ({COUNT})")
    parser.add_argument("--seed", type=number(int, 0), default=0)
    given = parser.parse_args(arguments)
    return answered(lambda: write(given.folder, given.count, given.seed), "shape_sentences.py")


if __name__ == "__main__":
    run(main, "shape_sentences.py")
