"""Random scenes on a tabletop, with captions.

A scene is an object of a material, a light and a camera. All of it depends on the seed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

OBJECTS = ("cube", "ball", "teddy bear")
MATERIALS = ("plain", "denim", "brick", "crochet", "fur")
COLOURS: dict[str, Colour] = {
    "red": (0.80, 0.15, 0.13),
    "green": (0.20, 0.60, 0.25),
    "blue": (0.18, 0.30, 0.75),
    "yellow": (0.90, 0.75, 0.15),
    "white": (0.88, 0.87, 0.84),
    "purple": (0.52, 0.25, 0.62),
}
"""Colours of plain objects, by their word in captions."""
YARNS: tuple[Colour, ...] = ((0.85, 0.45, 0.50), (0.45, 0.65, 0.60), (0.90, 0.80, 0.55), (0.60, 0.50, 0.75))
FURS: tuple[Colour, ...] = ((0.45, 0.30, 0.18), (0.72, 0.55, 0.36), (0.35, 0.33, 0.32), (0.85, 0.80, 0.72))
TABLES: tuple[Colour, ...] = ((0.52, 0.36, 0.22), (0.70, 0.55, 0.38), (0.75, 0.73, 0.70), (0.32, 0.30, 0.30))
WALLS: tuple[Colour, ...] = ((0.78, 0.80, 0.82), (0.62, 0.70, 0.75), (0.80, 0.74, 0.66), (0.45, 0.48, 0.52))

PLACES = ("on a tabletop", "on tabletop", "on a table")
PLAIN_CAPTIONS = (
    "a {colour} {object} {place}",
    "a plain {colour} {object} {place}",
    "{object} in {colour}, {place}",
    "a {object} {place}",
    "{colour}",
)
MATERIAL_CAPTIONS = (
    "a {material} {object} {place}",
    "a {object} made of {material} {place}",
    "{object} in {material}, {place}",
    "a {object} {place}",
    "{material}",
)
"""Captions. The last two name only the object or only the material; prompts to mix are of this kind."""


@dataclass(frozen=True)
class Scene:
    """An object on a table. Objects are about 2 units high."""

    object: str
    """One of ``OBJECTS``."""
    material: str
    """One of ``MATERIALS``."""
    caption: str
    halves: tuple[str, str]
    """A caption of the object, and one of the material."""
    colour: Colour
    """Colour of the object, where its material leaves a choice."""
    table: Colour
    wall: Colour
    yaw: float
    """Rotation of the object about the vertical, in radians."""
    size: float
    azimuth: float
    """Angle of the camera about the vertical, in radians."""
    height: float
    """Height of the camera above the table."""
    distance: float
    """Distance of the camera from the middle of the table."""
    light: tuple[float, float, float]
    """Unit vector toward the light."""
    ambient: float
    """Share of ambient light."""
    texture_seed: int
    """Seed of the noise in textures."""


def draw_scene(seed: int, object: str | None = None, material: str | None = None) -> Scene:
    """Return a random scene.

    Args:
        seed: The seed.
        object: One of ``OBJECTS``; None: random.
        material: One of ``MATERIALS``; None: random.
    """
    random = np.random.default_rng(seed)
    object = OBJECTS[random.integers(len(OBJECTS))] if object is None else object
    material = MATERIALS[random.integers(len(MATERIALS))] if material is None else material
    name, colour = _colour(material, random)
    place = PLACES[random.integers(len(PLACES))]
    wordings = PLAIN_CAPTIONS if material == "plain" else MATERIAL_CAPTIONS
    wording = random.integers(len(wordings))
    captions = [
        wording.format(object=object, material=material, colour=name, place=place) for wording in wordings
    ]
    angle, elevation = random.uniform(0, 2 * np.pi), random.uniform(0.5, 1.2)
    return Scene(
        object=object,
        material=material,
        caption=captions[wording],
        halves=(captions[-2], captions[-1]),
        colour=colour,
        table=_varied(TABLES, random),
        wall=_varied(WALLS, random),
        yaw=float(random.uniform(-0.6, 0.6))
        if object == "teddy bear"
        else float(random.uniform(0, 2 * np.pi)),
        size=float(random.uniform(0.85, 1.15)),
        azimuth=float(random.uniform(-0.35, 0.35)),
        height=float(random.uniform(1.8, 3.2)),
        distance=float(random.uniform(5.6, 6.8)),
        light=(
            float(np.cos(angle) * np.cos(elevation)),
            float(np.sin(elevation)),
            float(np.sin(angle) * np.cos(elevation)),
        ),
        ambient=float(random.uniform(0.35, 0.55)),
        texture_seed=int(random.integers(1 << 31)),
    )


def _colour(material: str, random: np.random.Generator) -> tuple[str, Colour]:
    if material == "plain":
        name = list(COLOURS)[random.integers(len(COLOURS))]
        return name, COLOURS[name]
    return "", _varied(YARNS if material == "crochet" else FURS, random)


def _varied(colours: tuple[Colour, ...], random: np.random.Generator) -> Colour:
    """Return a random variation of one of the colours."""
    red, green, blue = np.clip(
        np.array(colours[random.integers(len(colours))]) + random.uniform(-0.05, 0.05, 3), 0, 1
    )
    return float(red), float(green), float(blue)
