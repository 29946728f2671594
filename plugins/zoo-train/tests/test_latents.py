"""Latents of a data set: computed once for each image, whatever is beside it, and read from the disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import zoo_train.latents as module
from zoo_train.captions import CaptionedItems
from zoo_train.data import Images
from zoo_train.latents import EncodedItems, encode_items, latents_folder

from zoo_core import TrainingData

CPU = torch.device("cpu")


class Encoder:
    """Encodes images as their means and the doubles of these."""

    networks: dict[str, torch.nn.Module] = {}
    encoder_digest = "one"

    def __init__(self):
        self.seen = 0

    def encode_images(self, images):
        self.seen += len(images)
        mean = images.mean(dim=(2, 3))
        return torch.stack([mean, 2 * mean], dim=1)


def images(count, distinct, labels=None):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (distinct, 3, 4, 4), np.uint8)
    classes = () if labels is None else ("a", "b")
    return Images(
        lambda item: pixels[item % distinct], TrainingData((3, 4, 4), classes, count), labels, "", ""
    )


def encoded(items, folder, mirror=False, encoder=None):
    encode_items(items, encoder or Encoder(), folder, mirror, CPU)
    return EncodedItems(folder)


def test_a_batch_has_latents_in_place_of_images(tmp_path):
    items = images(150, 150, np.arange(150) % 2)  # more than one chunk
    made = encoded(items, tmp_path / "latents")
    places = [(140, False), (3, False), (3, False)]
    batch = made.collate([made[place] for place in places])
    plain = items.collate([items[place] for place in places])
    assert set(batch) == {"latents", "labels"}
    assert torch.equal(batch["latents"], Encoder().encode_images(plain["images"]))
    assert torch.equal(batch["labels"], plain["labels"])
    assert len(made) == 150


def test_mirrored_images_have_latents_of_their_own(tmp_path):
    items = images(5, 5)

    class Corner(Encoder):
        def encode_images(self, images):
            return images[:, :, 0, 0]

    made = encoded(items, tmp_path / "latents", mirror=True, encoder=Corner())
    batch = made.collate([made[(2, False)], made[(2, True)]])
    image = items.collate([items[(2, False)]])["images"][0]
    assert torch.equal(batch["latents"], torch.stack([image[:, 0, 0], image[:, 0, -1]]))


def test_an_image_with_several_captions_is_encoded_once(tmp_path):
    tokens = np.arange(24).reshape(12, 1, 2)
    items, encoder = CaptionedItems(images(12, 4), tokens), Encoder()
    made = encoded(items, tmp_path / "latents", encoder=encoder)
    assert encoder.seen == 4
    batch = made.collate([made[(1, False)], made[(5, False)]])
    assert batch["captions"].tolist() == [[2, 3], [10, 11]]
    assert torch.equal(batch["latents"][0], batch["latents"][1])


def test_what_is_there_is_not_computed_again(tmp_path):
    encoded(images(6, 6), tmp_path / "latents")
    encoder = Encoder()
    encoded(images(6, 6), tmp_path / "latents", encoder=encoder)
    assert encoder.seen == 0


def test_an_interrupted_computation_begins_anew(tmp_path, monkeypatch):
    class Interrupted(Encoder):
        def encode_images(self, images):
            if self.seen:
                raise KeyboardInterrupt
            return super().encode_images(images)

    monkeypatch.setattr(module, "CHUNK", 4)
    with pytest.raises(KeyboardInterrupt):
        encoded(images(6, 6), tmp_path / "latents", encoder=Interrupted())
    assert len(encoded(images(6, 6), tmp_path / "latents")) == 6


def test_another_encoder_or_other_data_have_another_folder(tmp_path):
    one, other = Encoder(), Encoder()
    other.encoder_digest = "other"
    folders = {
        latents_folder(tmp_path, trainable, {"data": data}) for trainable in (one, other) for data in "ab"
    }
    assert len(folders) == 4
    assert latents_folder(tmp_path, one, {"data": "a"}) in folders
