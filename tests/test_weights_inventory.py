"""What the Hub cache holds, and how to be rid of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import EmbeddedWeights, HubWeights, LocalWeights, ModelCard, Weights, WeightsFile
from zoo_core.testing.hub import LoopbackHub
from zoo_core.weights import cache_folder, cache_report, get_checkpoint, is_cached, remove

REPO = "org/model"
FILES = {"config.json": b"{}", "model.safetensors": b"w" * 1000}


def card(weights: Weights | None = None, revision: str | None = None) -> ModelCard:
    return ModelCard(
        id="model",
        plugin="zoo-test",
        summary="",
        family="test",
        output="image",
        license="mit",
        weights=weights or HubWeights(REPO, revision, tuple(WeightsFile(name) for name in FILES)),
    )


def test_pulled_counts_bytes_once_all_files_are_here(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    assert is_cached(card()) is None
    assert is_cached(card(revision=commit)) is None
    checkpoint = get_checkpoint(card())
    assert is_cached(card()) == is_cached(card(revision=commit)) == 1002
    checkpoint.files["model.safetensors"].unlink()
    assert is_cached(card()) is None


def test_pulled_knows_nothing_of_weights_from_elsewhere(isolated_home: Path, tmp_path: Path) -> None:
    assert is_cached(card(EmbeddedWeights(tmp_path))) is None
    assert is_cached(card(LocalWeights(tmp_path, ()))) is None


def test_the_report_names_what_is_there_and_whose_it_is(loopback_hub: LoopbackHub) -> None:
    from huggingface_hub import HfApi

    assert cache_report().repos == ()
    commit = loopback_hub.add(REPO, FILES)
    for repo, size in (("org/hidden", 5000), ("org/stranger", 3000)):
        loopback_hub.add(repo, {"model.bin": b"x" * size})
    get_checkpoint(card())
    get_checkpoint(card(HubWeights("org/hidden", None, (WeightsFile("model.bin"),))))
    HfApi(endpoint=loopback_hub.endpoint).snapshot_download("org/stranger", cache_dir=cache_folder())
    report = cache_report([card(), card(EmbeddedWeights(Path("x")))])
    assert report.folder == str(cache_folder())
    assert [(r.repo, r.bytes, r.models, r.ours) for r in report.repos] == [
        ("org/hidden", 5000, (), True),
        ("org/stranger", 3000, (), False),
        (REPO, 1002, ("model",), True),
    ]
    assert report.bytes == 9002
    assert report.repos[2].commits == (commit,)
    (cache_folder() / "models--org--model" / "blobs" / "a.incomplete").write_bytes(b"12345")
    assert cache_report().abandoned == 5


def test_removing_frees_a_cards_revision_and_keeps_its_pin(loopback_hub: LoopbackHub) -> None:
    old = loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    new = loopback_hub.add(REPO, {**FILES, "model.safetensors": b"v" * 500})
    get_checkpoint(card(revision=new))
    assert remove(card(revision=new)) == 500  # the config is the same file in both
    assert is_cached(card()) == 1002
    assert remove(card()) == 1002
    assert is_cached(card()) is None
    assert get_checkpoint(card()).source.endswith(old)


def test_removing_a_repository_frees_all_its_revisions(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    loopback_hub.add(REPO, {**FILES, "model.safetensors": b"v" * 500})
    get_checkpoint(card(), update=True)
    assert remove(REPO) == 1502
    assert cache_report().repos == ()


def test_what_is_not_there_cannot_be_removed(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    for model in (card(), card(revision="0" * 40), REPO):
        with pytest.raises(WeightsError, match="org/model is not in the cache") as raised:
            remove(model)
        assert raised.value.remedy == "See what is: zoo cache"
    get_checkpoint(card())
    with pytest.raises(WeightsError, match="org/model is not in"):
        remove(card(revision="0" * 40))


def test_weights_from_elsewhere_are_not_removed(isolated_home: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    for weights in (EmbeddedWeights(tmp_path), LocalWeights(tmp_path, ("config.json",))):
        with pytest.raises(WeightsError, match="does not come from the Hub") as raised:
            remove(card(weights))
        assert "zoo uninstall" in raised.value.remedy
    assert (tmp_path / "config.json").exists()


def test_embedded_weights_are_every_data_file_of_their_folder(isolated_home: Path, tmp_path: Path) -> None:
    for name in ("config.json", "unet/model.safetensors", "make.py", ".cache/x", "__pycache__/make.pyc"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    checkpoint = get_checkpoint(card(EmbeddedWeights(tmp_path)))
    assert checkpoint.source == "embedded"
    assert set(checkpoint.files) == {"config.json", "unet/model.safetensors"}


def test_embedded_weights_that_are_gone_are_told(isolated_home: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="There are no weights in") as raised:
        get_checkpoint(card(EmbeddedWeights(tmp_path / "gone")))
    assert raised.value.remedy == "Reinstall the plugin."
