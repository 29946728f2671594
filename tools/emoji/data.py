"""Write Noto's emoji as images with captions, from two unpacked npm packages.

    npm pack emoji-datasource-google@16.0.0 emojilib@3.0.12
    mkdir -p data/npm/google data/npm/emojilib
    tar xzf emoji-datasource-google-16.0.0.tgz -C data/npm/google package/emoji.json package/img/google/64
    tar xzf emojilib-3.0.12.tgz -C data/npm/emojilib
    PYTHONPATH=tools python -m emoji.data data/npm/google/package data/npm/emojilib/package data/emoji

Noto's images are under the Apache License 2.0 (Google), their names (emoji-datasource) and keywords
(emojilib) under the MIT License.

The folder has an image of every emoji on white, variants of skin tone included. ``metadata.jsonl`` has a line
for each wording of each emoji, with file_name, text, name, kind and colour; ``held-out.jsonl`` has one for
each wording that is held out, two of each emoji. The five swatches of skin are left out.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

HELD_OUT = 2
"""Wordings of each emoji that are held out."""
MAX_WORDS = 10
"""Wordings are cut to so many words: the transformer reads all of its context at each step."""
KINDS: Mapping[str, str] = {
    "Smileys & Emotion": "smiley",
    "People & Body": "person",
    "Animals & Nature": "animal",
    "Food & Drink": "food",
    "Travel & Places": "place",
    "Activities": "activity",
    "Objects": "object",
    "Symbols": "symbol",
    "Flags": "flag",
}
"""A word for each category. ``Component``, the swatches of skin, has none."""
PALETTE: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 45, 45),
    "orange": (245, 130, 35),
    "yellow": (252, 200, 55),
    "green": (85, 150, 60),
    "blue": (50, 130, 200),
    "purple": (145, 70, 175),
    "pink": (240, 130, 165),
    "brown": (125, 80, 60),
    "black": (40, 45, 50),
    "grey": (145, 155, 160),
    "white": (235, 240, 242),
}
"""The colours with a name, and an sRGB value that Noto uses for each."""


@dataclass(frozen=True)
class Emoji:
    """An emoji, and what is said about it."""

    file_name: str
    name: str
    kind: str
    """One of the values of ``KINDS``."""
    colour: str
    """The name of the colour of most of its area: one of ``PALETTE``."""
    other_names: tuple[str, ...]
    keywords: tuple[str, ...]


def read_emoji(google: Path, keywords: Path) -> Iterator[tuple[Emoji, Image.Image]]:
    """Yield every emoji of the packages with its image on white.

    Args:
        google: The unpacked emoji-datasource-google.
        keywords: The unpacked emojilib.

    Raises:
        FileNotFoundError: A package is not there.
    """
    known = json.loads((keywords / "dist" / "emoji-en-US.json").read_text(encoding="utf-8"))
    for entry in json.loads((google / "emoji.json").read_text(encoding="utf-8")):
        if entry["category"] in KINDS and entry["has_img_google"]:
            image = on_white(google / "img" / "google" / "64" / entry["image"])
            yield _emoji(entry, known.get(_characters(entry["unified"]), []), image), image


def on_white(path: Path) -> Image.Image:
    """Return an image with white where it is transparent."""
    image = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def main_colour(image: Image.Image) -> str:
    """Return the name of the colour of most of an image that is not its white background."""
    pixels = np.asarray(image, dtype=np.float64).reshape(-1, 3)
    pixels = pixels[pixels.min(axis=1) < 250]
    if not len(pixels):
        return "white"
    colours = np.array(list(PALETTE.values()), dtype=np.float64)
    nearest = ((pixels[:, None] - colours) ** 2).sum(axis=2).argmin(axis=1)
    return list(PALETTE)[int(np.bincount(nearest, minlength=len(PALETTE)).argmax())]


def wordings(emoji: Emoji) -> list[str]:
    """Return what the emoji may be called, its plain name first, without repetitions."""
    name, kind, colour = emoji.name, emoji.kind, emoji.colour
    coloured = name if colour in name.split() else f"{colour} {name}"
    texts = [name, _article(name), f"{name}, {kind}", coloured, f"{kind}: {name}"]
    for other in emoji.other_names:
        texts += [other, f"{other}, {kind}"]
    if emoji.keywords:
        texts += [f"{name}, {', '.join(emoji.keywords[:3])}", ", ".join((kind, *emoji.keywords[:4]))]
        texts += [f"{colour} {kind}, {', '.join(emoji.keywords[:4])}", f"{emoji.keywords[0]} {name}"]
    return list(dict.fromkeys(" ".join(text.split()[:MAX_WORDS]).rstrip(",") for text in texts))


def split(texts: Sequence[str], taken: Mapping[str, int], seed: str) -> tuple[list[str], list[str]]:
    """Split wordings into those to learn from and those held out, which no other emoji has.

    Args:
        texts: The wordings; the first one is never held out.
        taken: How many emoji have each wording.
        seed: What the choice depends on.
    """
    own = [text for text in texts[1:] if taken[text] == 1]
    held_out = set(random.Random(seed).sample(own, min(HELD_OUT, len(own))))
    return [text for text in texts if text not in held_out], [text for text in texts if text in held_out]


def _emoji(entry: Mapping[str, Any], keywords: Sequence[str], image: Image.Image) -> Emoji:
    words = [_plain(word) for word in keywords]
    own = [_plain(name) for name in (entry["name"], *entry["short_names"])]
    name, *others = dict.fromkeys(text for text in (*words[:1], *own) if text)
    if entry["category"] == "Flags":
        name = f"flag of {name.removeprefix('flag ')}" if name.startswith("flag ") else name
    kept = tuple(word for word in words[1:] if word not in (name, *others))
    return Emoji(entry["image"], name, KINDS[entry["category"]], main_colour(image), tuple(others), kept)


def _plain(text: str) -> str:
    """Return a name in lower case, with spaces between its words."""
    return " ".join(re.sub(r"[^\w&'+#*.!?-]|_", " ", text.lower()).replace("-", " ").split())


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _characters(unified: str) -> str:
    return "".join(chr(int(code, 16)) for code in unified.split("-"))


@click.command()
@click.argument("google", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("keywords", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("folder", type=click.Path(path_type=Path))
def main(google: Path, keywords: Path, folder: Path) -> None:
    """Write the emoji of GOOGLE, called by their names and the words of KEYWORDS, into FOLDER."""
    folder.mkdir(parents=True, exist_ok=True)
    found = list(read_emoji(google, keywords))
    taken = Counter(text for emoji, _ in found for text in wordings(emoji))
    learned, held_out = [], []
    for emoji, image in found:
        image.save(folder / emoji.file_name)
        about = {key: asdict(emoji)[key] for key in ("file_name", "name", "kind", "colour")}
        for lines, texts in zip(
            (learned, held_out), split(wordings(emoji), taken, emoji.file_name), strict=True
        ):
            lines += [about | {"text": text} for text in texts]
    # The first wordings are those that zoo train draws samples of: they shall be of many emoji.
    random.Random(0).shuffle(learned)
    for path in sorted((google / "img" / "google" / "64").glob("*.png")):
        if not (folder / path.name).exists():
            on_white(path).save(folder / path.name)
    for name, lines in (("metadata.jsonl", learned), ("held-out.jsonl", held_out)):
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (folder / name).write_text(text, encoding="utf-8")
    click.echo(f"{len(found)} emoji, {len(learned)} wordings, {len(held_out)} held out: {folder}")


if __name__ == "__main__":
    main()
