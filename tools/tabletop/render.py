"""Render a scene by ray casting: a table and a box or ellipsoids, intersected in closed form with numpy.

Axes: x to the right, y up, z toward the camera at azimuth 0. The table is y = 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tabletop.scene import Scene

Array = NDArray[np.float32]

SUPERSAMPLING = 2
"""Rays along the side of a pixel."""
FOCAL = 2.9
"""Focal length over half the width of the image plane."""
TABLE_DEPTH = -4.0
"""z of the wall behind the table."""
FAR = 1e6

# Centre and radii of the parts of a bear about 2 high, facing z: body, head, ears, snout, arms, legs.
BEAR = np.array(
    [
        [0, 0.72, 0, 0.62, 0.70, 0.52],
        [0, 1.60, 0.05, 0.50, 0.46, 0.46],
        [-0.38, 1.98, 0, 0.19, 0.19, 0.12],
        [0.38, 1.98, 0, 0.19, 0.19, 0.12],
        [0, 1.50, 0.44, 0.20, 0.16, 0.18],
        [-0.66, 0.95, 0.15, 0.20, 0.42, 0.20],
        [0.66, 0.95, 0.15, 0.20, 0.42, 0.20],
        [-0.38, 0.22, 0.42, 0.24, 0.22, 0.46],
        [0.38, 0.22, 0.42, 0.24, 0.22, 0.46],
    ],
    np.float32,
)
EYES = np.array(
    [
        [-0.17, 1.70, 0.47, 0.06, 0.06, 0.05],
        [0.17, 1.70, 0.47, 0.06, 0.06, 0.05],
        [0, 1.55, 0.60, 0.07, 0.05, 0.05],
    ],
    np.float32,
)
"""Eyes and nose, black in every material."""
BALL = np.array([[0, 0.95, 0, 0.95, 0.95, 0.95]], np.float32)
CUBE = 0.8
"""Half the side of the cube."""


def render(scene: Scene, side: int = 64) -> NDArray[np.uint8]:
    """Return an image of the scene, (side, side, 3)."""
    rays = side * SUPERSAMPLING
    origin, directions = _camera(scene, rays)
    light = np.array(scene.light, np.float32)
    hit, normal, place, black = _intersect(scene, origin[None], directions)
    on_object = hit < FAR
    table_at = _table(origin, directions)
    colours = _surroundings(scene, origin, directions, table_at, light)
    if on_object.any():
        surface = _surface(scene, place[on_object], normal[on_object])
        surface[black[on_object]] = 0.05
        bumped = _bumped(scene, place[on_object], normal[on_object])
        lit = np.clip(bumped @ light, 0, None)
        shade = scene.ambient * (0.75 + 0.25 * bumped[:, 1]) + (1 - scene.ambient) * lit
        colours[on_object] = surface * shade[:, None] * 1.25
    image = np.clip(colours, 0, 1).reshape(side, SUPERSAMPLING, side, SUPERSAMPLING, 3).mean((1, 3))
    return (image ** (1 / 1.5) * 255 + 0.5).astype(np.uint8)


def _camera(scene: Scene, rays: int) -> tuple[Array, Array]:
    """Return the origin of the rays, (3,), and their directions, (rays², 3)."""
    origin = np.array(
        [
            scene.distance * np.sin(scene.azimuth),
            scene.height,
            scene.distance * np.cos(scene.azimuth),
        ],
        np.float32,
    )
    forward = np.array([0, 0.85, 0], np.float32) - origin
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    at = (np.arange(rays) + 0.5) / rays * 2 - 1
    x, y = np.meshgrid(at, -at)
    directions = FOCAL * forward + x[..., None] * right + y[..., None] * up
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    return origin, directions.reshape(-1, 3).astype(np.float32)


def _rotated(scene: Scene, vectors: Array, back: bool = False) -> Array:
    """Rotate vectors into the object's axes, or back."""
    angle = scene.yaw if back else -scene.yaw
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]], np.float32)
    return (vectors @ turn).astype(np.float32)


def _intersect(
    scene: Scene, origins: Array, directions: Array
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Intersect rays with the object.

    Args:
        scene: The scene.
        origins: (1 or n, 3).
        directions: (n, 3), of length 1.

    Returns:
        Distances (n,), FAR where a ray misses; normals (n, 3); points in the object's axes, in units of its
        size (n, 3); and whether the point is black.
    """
    o = _rotated(scene, origins) / scene.size
    d = _rotated(scene, directions)
    if scene.object == "cube":
        distance, normal = _intersect_box(o, d)
        black = np.zeros(len(d), bool)
    else:
        parts = BALL if scene.object == "ball" else np.concatenate([BEAR, EYES])
        distance, normal, part = _intersect_ellipsoids(o, d, parts)
        black = part >= len(BEAR) if scene.object == "teddy bear" else np.zeros(len(d), bool)
    place = o + d * np.minimum(distance, FAR / 10)[:, None]
    return (
        np.where(distance < FAR, distance * scene.size, FAR),
        _rotated(scene, normal, back=True),
        place,
        black,
    )


def _intersect_box(o: Array, d: Array) -> tuple[Array, Array]:
    centre = np.array([0, CUBE, 0], np.float32)
    with np.errstate(divide="ignore"):
        inverse = 1 / d
    first, second = (-CUBE - (o - centre)) * inverse, (CUBE - (o - centre)) * inverse
    near, far = np.minimum(first, second), np.maximum(first, second)
    axis = near.argmax(1)
    enter, leave = near.max(1), far.min(1)
    met = (enter < leave) & (enter > 1e-4)
    normal = np.zeros_like(d)
    rows = np.arange(len(d))
    normal[rows, axis] = -np.sign(d[rows, axis])
    return np.where(met, enter, FAR).astype(np.float32), normal


def _intersect_ellipsoids(o: Array, d: Array, parts: Array) -> tuple[Array, Array, NDArray[np.intp]]:
    centres, radii = parts[:, :3], parts[:, 3:]
    # In units of its radii, an ellipsoid is the unit sphere.
    p = (o[:, None] - centres) / radii  # (1 or n, parts, 3)
    v = d[:, None] / radii  # (n, parts, 3)
    a, b, c = (v * v).sum(2), (p * v).sum(2), (p * p).sum(2) - 1
    root = b * b - a * c
    with np.errstate(invalid="ignore"):
        distance = (-b - np.sqrt(root)) / a
    distance = np.where((root > 0) & (distance > 1e-4), distance, FAR)
    part = distance.argmin(1)
    rows = np.arange(len(d))
    nearest = distance[rows, part]
    start = p[0] if len(p) == 1 else p[rows]
    at = (start[part] if len(p) == 1 else start[rows, part]) + v[rows, part] * np.minimum(nearest, FAR / 10)[
        :, None
    ]
    normal = at / radii[part]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    return nearest.astype(np.float32), normal.astype(np.float32), part


def _table(origin: Array, directions: Array) -> Array:
    """Return the distances at which rays meet the table, FAR where they meet the wall."""
    with np.errstate(divide="ignore"):
        distance = -origin[1] / directions[:, 1]
    z = origin[2] + directions[:, 2] * np.where(distance > 0, distance, 0)
    return np.where((distance > 0) & (z > TABLE_DEPTH), distance, FAR).astype(np.float32)


def _surroundings(scene: Scene, origin: Array, directions: Array, table_at: Array, light: Array) -> Array:
    """Return the colours of table and wall, with the object's shadow."""
    colours = np.empty_like(directions)
    on_table = table_at < FAR
    wall = np.array(scene.wall, np.float32)
    colours[:] = wall * (0.72 + 0.35 * np.clip(directions[:, 1:2] + 0.3, 0, 1))
    points = origin + directions[on_table] * table_at[on_table][:, None]
    wood = 0.06 * np.sin(points[:, :1] * 9 + 2 * np.sin(points[:, 2:] * 0.7) + scene.texture_seed % 7)
    table = np.array(scene.table, np.float32) * (1 + wood)
    near = np.hypot(points[:, 0], points[:, 2]) < 5
    shadow = np.zeros(len(points), bool)
    if near.any():
        toward = np.broadcast_to(light, (int(near.sum()), 3))
        blocked, *_ = _intersect(scene, points[near].astype(np.float32), toward.astype(np.float32))
        shadow[near] = blocked < FAR
    lit = np.where(shadow, 0.0, light[1])
    shade = scene.ambient + (1 - scene.ambient) * lit
    colours[on_table] = table * shade[:, None] * 1.25
    return colours


def _coordinates(scene: Scene, place: Array, normal: Array) -> tuple[Array, Array]:
    """Return two coordinates on the surface, about in the object's units."""
    if scene.object == "cube":
        own = _rotated(scene, normal)
        axis = np.abs(own).argmax(1)
        u = np.where(axis == 0, place[:, 2], place[:, 0])
        v = np.where(axis == 1, place[:, 2], place[:, 1])
        return u, v
    own = _rotated(scene, normal)
    return np.arctan2(own[:, 0], own[:, 2]) * 0.95, np.arcsin(np.clip(own[:, 1], -1, 1)) * 0.95 + place[
        :, 1
    ] * 0.1


def _surface(scene: Scene, place: Array, normal: Array) -> Array:
    """Return the colour of the object's material at each point, (n, 3)."""
    u, v = _coordinates(scene, place, normal)
    colour = np.broadcast_to(np.array(scene.colour, np.float32), place.shape).copy()
    if scene.material == "denim":
        twill = (np.sin((u + v) * 42) > 0.2) * 0.16 + 0.05 * np.sin(u * 130) * np.sin(v * 90)
        colour = np.array([0.16, 0.24, 0.44], np.float32) + twill[:, None].astype(np.float32)
    elif scene.material == "brick":
        row = np.floor(v * 5)
        along = u * 2.6 + 0.5 * (row % 2)
        mortar = (np.abs(v * 5 - row - 0.5) > 0.40) | (np.abs(along - np.floor(along) - 0.5) > 0.44)
        tint = 0.12 * np.sin(np.floor(along) * 12.9 + row * 78.2 + scene.texture_seed % 11)
        bricks = np.array([0.62, 0.25, 0.17], np.float32) * (1 + tint[:, None].astype(np.float32))
        colour = np.where(mortar[:, None], np.float32(0.72), bricks)
    elif scene.material == "crochet":
        loops = np.abs(np.sin(u * 17)) * np.abs(np.sin(v * 14 + 0.6 * np.sin(u * 34)))
        colour = colour * (0.45 + 0.70 * loops[:, None].astype(np.float32))
    elif scene.material == "fur":
        colour = colour * (0.75 + 0.5 * _strands(scene, u, v)[:, None])
    return colour.astype(np.float32)


def _bumped(scene: Scene, place: Array, normal: Array) -> Array:
    """Return the normals, bent by the material's relief."""
    u, v = _coordinates(scene, place, normal)
    if scene.material == "crochet":
        bend = 0.45 * np.stack([np.cos(u * 34), np.cos(v * 28), np.cos(u * 17 + v * 14)], 1)
    elif scene.material == "fur":
        bend = 0.9 * np.stack([_strands(scene, u + k, v - k) - 0.5 for k in (0.0, 3.1, 7.7)], 1)
    else:
        return normal
    bent = normal + bend.astype(np.float32)
    return (bent / np.linalg.norm(bent, axis=1, keepdims=True)).astype(np.float32)


def _strands(scene: Scene, u: Array, v: Array) -> Array:
    """Return noise in streaks along v, in [0, 1]."""
    phase = scene.texture_seed % 1000
    rough = (
        np.sin(np.floor(u * 60) * 127.1 + np.floor(v * 22 + 3 * np.sin(u * 25)) * 311.7 + phase) * 43758.5453
    )
    return (rough - np.floor(rough)).astype(np.float32)
