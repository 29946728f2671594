"""Features on disk: computed once, resumed after a stop, and read in blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo_eval.data import Images, images_of
from zoo_eval.extractors.pixels import build
from zoo_eval.features import FixedShape, blocks, features_of
from zoo_eval.reference import Reference

from zoo_core import ZooError

CPU = torch.device("cpu")


def quiet(done, total):
    pass


class Counting:
    """The pixels, and how many images were asked for."""

    digest, size, channels, batch_size = "counting", None, None, 16

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen, self.stop_after = 0, stop_after

    def __call__(self, images):
        if self.stop_after is not None and self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(images)
        return build(None, CPU)(images)


@pytest.fixture
def some(digits) -> Images:
    return Images("some", lambda item: digits[item][None], 70, "digest of some")


def test_features_are_the_extractors(some, digits, tmp_path):
    found = features_of(some, Counting(), CPU, tmp_path, quiet)
    assert len(found) == 70
    expected = torch.from_numpy(digits[:70]).flatten(1).float() / 255
    torch.testing.assert_close(found[:], expected)
    assert torch.equal(found[10:20], found[:][10:20])
    assert [start for start, _ in blocks(found, 32)] == [0, 32, 64]


def test_they_are_made_once(some, tmp_path):
    extractor = Counting()
    features_of(some, extractor, CPU, tmp_path, quiet)
    features_of(some, extractor, CPU, tmp_path, quiet)
    assert extractor.seen == 70


def test_a_stopped_run_goes_on_where_it_was_and_ends_the_same(some, tmp_path):
    whole = features_of(some, Counting(), CPU, tmp_path / "whole", quiet)
    folder = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        features_of(some, Counting(stop_after=32), CPU, folder, quiet)
    (part,) = folder.iterdir()
    with part.open("ab") as file:
        file.write(b"half a row that a kill left")
    again = Counting()
    found = features_of(some, again, CPU, folder, quiet)
    assert again.seen == 70 - 32
    assert torch.equal(found[:], whole[:])
    assert [path.suffix for path in folder.iterdir()] == [".f32"]


def test_images_of_several_sizes_are_refused_without_resizing(tmp_path):
    ragged = Images("ragged", lambda item: np.zeros((1, 8, 8 + item), np.uint8), 20, "ragged")
    with pytest.raises(ZooError, match="differ in size"):
        features_of(ragged, Counting(), CPU, tmp_path, quiet)
    found = features_of(ragged, FixedShape(Counting(), (1, 8, 8)), CPU, tmp_path, quiet)
    assert found[:].shape == (20, 64)


def test_statistics_of_the_data_are_kept_by_content(digits, some, tmp_path):
    def reference(items):
        return Reference(items, Counting(), CPU, tmp_path, quiet)

    moments = reference(some).moments
    kept = set(tmp_path.iterdir())
    again = reference(some)
    assert torch.equal(again.moments.scatter, moments.scatter)
    assert set(tmp_path.iterdir()) == kept
    other = Images("other", lambda item: digits[item + 70][None], 70, "digest of others")
    assert not torch.equal(reference(other).moments.mean, moments.mean)


def test_some_of_the_data_are_always_the_same(some, tmp_path):
    reference = Reference(some, Counting(), CPU, tmp_path, quiet)
    chosen = reference.some(30)
    assert chosen[:].shape == (30, 784)
    assert torch.equal(reference.some(30)[:], chosen[:])
    rows = {tuple(row) for row in reference.features[:].tolist()}
    assert all(tuple(row) in rows for row in chosen[:].tolist())
    assert reference.some(500) is reference.features


def test_a_files_content_counts_and_not_its_name(digits, tmp_path):
    from PIL import Image

    paths = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path, item in zip(paths, (0, 0, 1), strict=True):
        Image.fromarray(digits[item]).save(path)
    one, same, other = (images_of("x", [path]).digest for path in paths)
    assert one == same != other
