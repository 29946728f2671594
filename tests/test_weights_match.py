"""Checkpoints without a card, recognised by what their config says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import CheckpointRule, HubWeights, LocalWeights, ModelCard, Option
from zoo_core.testing.hub import LoopbackHub
from zoo_core.weights import HubName, get_checkpoint, match_hub, match_path, save_weights

REPO = "org/model"


def rule(plugin: str, kind: str, config: str = "config.json", *stems: str) -> CheckpointRule:
    return CheckpointRule(
        plugin=plugin,
        summary=f"any {kind}",
        family="diffusion",
        output="image",
        config=config,
        where={"_class_name": (kind,)},
        files=("scheduler_config.json",),
        weights=stems or ("model",),
        options={"steps": Option("steps", "integer")},
    )


RULES = (
    rule("zoo-nest", "UNet", "unet/config.json", "unet/model"),
    rule("zoo-flat", "UNet"),
    rule("zoo-gpt", "GPT"),
)


def config(kind: str = "UNet") -> bytes:
    return json.dumps({"_class_name": kind}).encode()


def weights(folder: Path) -> bytes:
    save_weights(folder / "scratch", {"a": torch.ones(2)})
    return (folder / "scratch").read_bytes()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    return {"config.json": config(), "model.safetensors": weights(tmp_path)}


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def problem(folder: Path, rules: tuple[CheckpointRule, ...] = RULES) -> tuple[str, str]:
    with pytest.raises(WeightsError) as raised:
        match_path(folder, rules)
    return raised.value.message, raised.value.remedy


# A local folder


def test_a_folder_becomes_a_card(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = write(tmp_path / "mine", {**files, "loss.png": b"", "scheduler_config.json": b"{}"})
    card = match_path(folder, RULES)
    assert (card.id, card.plugin, card.license) == (str(folder), "zoo-flat", "unknown")
    assert (card.family, card.output, card.summary) == ("diffusion", "image", "any UNet")
    assert set(card.options) == {"steps"}
    assert card.weights == LocalWeights(folder, ("config.json", "scheduler_config.json", "model.safetensors"))


def test_weights_of_further_networks_are_used_if_they_exist(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = write(tmp_path / "mine", {**files, "vae/model.safetensors": files["model.safetensors"]})
    card = match_path(folder, [replace(RULES[1], more_weights=("vae/model", "text/model"))])
    assert isinstance(card.weights, LocalWeights)
    assert card.weights.files == ("config.json", "model.safetensors", "vae/model.safetensors")


def test_a_folder_is_run_from_where_it_is(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "mine", {**files, "samples/0.png": b"x"})
    monkeypatch.chdir(tmp_path)
    checkpoint = get_checkpoint(match_path(Path("mine"), RULES))
    assert checkpoint.source == str(folder)
    assert set(checkpoint.files) == {"config.json", "model.safetensors"}
    assert torch.equal(checkpoint.tensors("model")["a"], torch.ones(2))
    (folder / "loss.png").touch()
    assert get_checkpoint(match_path(folder, RULES)).digest == checkpoint.digest
    write(folder, {"config.json": config() + b" "})
    assert get_checkpoint(match_path(folder, RULES)).digest != checkpoint.digest


def test_the_first_rule_that_matches_is_taken(tmp_path: Path, files: dict[str, bytes]) -> None:
    nested = {"unet/" + name: content for name, content in files.items()}
    assert match_path(write(tmp_path / "both", files | nested), RULES).plugin == "zoo-nest"
    assert match_path(tmp_path / "both", RULES[1:]).plugin == "zoo-flat"
    gpt = {**files, "config.json": config("GPT")}
    assert match_path(write(tmp_path / "gpt", gpt), RULES).plugin == "zoo-gpt"


def test_the_first_name_of_weights_that_is_there_is_used(tmp_path: Path, files: dict[str, bytes]) -> None:
    rules = (rule("zoo-gpt", "UNet", "config.json", "model", "pytorch_model"),)
    folder = write(tmp_path / "mine", {"config.json": config(), "pytorch_model.bin": b""})
    card = match_path(folder, rules)
    assert card.weights == LocalWeights(folder, ("config.json", "pytorch_model.bin"))
    card = match_path(write(folder, files), rules)
    assert card.weights == LocalWeights(folder, ("config.json", "model.safetensors"))
    message, _ = problem(write(tmp_path / "none", {"config.json": config()}), rules)
    assert "model.safetensors or model.bin or pytorch_model.safetensors or pytorch_model.bin" in message


def test_shards_are_found_through_their_index(tmp_path: Path) -> None:
    index = json.dumps({"weight_map": {"a": "model-1-of-02.safetensors", "b": "model-2-of-02.safetensors"}})
    files = {
        "config.json": config(),
        "model.safetensors.index.json": index.encode(),
        "model-1-of-02.safetensors": b"",
        "model-2-of-02.safetensors": b"",
        "model.bin": b"not used",
    }
    card = match_path(write(tmp_path / "mine", files), RULES)
    assert isinstance(card.weights, LocalWeights)
    assert card.weights.files == tuple(files)[:4]
    (tmp_path / "mine" / "model-2-of-02.safetensors").unlink()
    assert "lacks model-2-of-02.safetensors" in problem(tmp_path / "mine")[0]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    message, remedy = problem(tmp_path / "nowhere")
    assert message == f"There is no folder {tmp_path / 'nowhere'}."
    assert "zoo list" in remedy


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "net.pkl").touch()
    message, remedy = problem(tmp_path / "net.pkl")
    assert "is a file" in message
    assert f"zoo convert {tmp_path / 'net.pkl'} -o FOLDER" in remedy


def test_an_empty_folder(tmp_path: Path) -> None:
    assert problem(tmp_path)[0] == f"{tmp_path} is empty."


def test_a_folder_without_a_config(tmp_path: Path, files: dict[str, bytes]) -> None:
    folder = write(tmp_path / "mine", {"readme.txt": b""})
    message, remedy = problem(folder)
    assert message.endswith("it is no model: it has readme.txt.")
    assert "It has readme.txt" in remedy
    write(folder, {"net.pkl": b""})
    assert "zoo convert net.pkl" in problem(folder)[1]


def test_a_folder_without_weights(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", {"config.json": config(), "model.ckpt": b""})
    message, remedy = problem(folder)
    assert message.endswith("has no weights named model.safetensors or model.bin.")
    assert "zoo convert model.ckpt" in remedy


def test_a_config_that_is_broken(tmp_path: Path) -> None:
    message, remedy = problem(write(tmp_path / "mine", {"config.json": b'{"unconditional": True}'}))
    assert "config.json" in message
    assert "cannot be read as JSON" in message
    assert remedy


def test_a_config_that_no_rule_knows(tmp_path: Path) -> None:
    other = json.dumps({"_class_name": "AutoencoderKL", "model_type": "vae"}).encode()
    message, remedy = problem(write(tmp_path / "mine", {"config.json": other}))
    assert message.endswith("it is a transformers model of the type vae.")
    assert "No other plugin is known to run it" in remedy
    message, _ = problem(write(tmp_path / "mine", {"config.json": b'{"size": 1}'}))
    assert "config.json says neither model_type, _class_name nor architectures" in message


def test_no_plugin_that_runs_checkpoints(tmp_path: Path, files: dict[str, bytes]) -> None:
    message, remedy = problem(write(tmp_path / "mine", files), ())
    assert message.endswith("it is a network of diffusers (UNet).")
    assert "zoo list --all" in remedy


def test_a_file_that_vanishes_between_matching_and_running(tmp_path: Path, files: dict[str, bytes]) -> None:
    card = match_path(write(tmp_path / "mine", files), RULES)
    (tmp_path / "mine" / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing"):
        get_checkpoint(card)


# A Hub repository


def hub_weights(card: ModelCard) -> HubWeights:
    assert isinstance(card.weights, HubWeights)
    return card.weights


def test_a_repository_becomes_a_card(loopback_hub: LoopbackHub, files: dict[str, bytes]) -> None:
    commit = loopback_hub.add(REPO, {**files, "README.md": b"", "model.bin": b"not used"}, license="mit")
    card = match_hub(HubName(REPO), RULES)
    assert (card.id, card.plugin, card.license) == (f"hf:{REPO}", "zoo-flat", "mit")
    assert card.homepage == f"{loopback_hub.endpoint}/{REPO}"
    assert (hub_weights(card).repo, hub_weights(card).revision) == (REPO, commit)
    config, weights = hub_weights(card).files
    assert (config.name, config.bytes) == ("config.json", len(files["config.json"]))
    assert weights.name == "model.safetensors"
    assert weights.sha256 is not None
    assert loopback_hub.count("GET", "*safetensors") == 0
    assert torch.equal(get_checkpoint(card).tensors("model")["a"], torch.ones(2))


def test_a_revision_is_kept_in_the_name_and_resolved(
    loopback_hub: LoopbackHub, files: dict[str, bytes]
) -> None:
    commit = loopback_hub.add(REPO, files, branch="v1.0")
    for revision in ("v1.0", commit):
        card = match_hub(HubName(REPO, revision), RULES)
        assert card.id == f"hf:{REPO}@{revision}"
        assert hub_weights(card).revision == commit


def test_a_repository_stays_at_its_commit_until_updated(
    loopback_hub: LoopbackHub, files: dict[str, bytes]
) -> None:
    old = loopback_hub.add(REPO, files)
    match_hub(HubName(REPO), RULES)
    new = loopback_hub.add(REPO, {**files, "scheduler_config.json": b"{}"})
    assert hub_weights(match_hub(HubName(REPO), RULES)).revision == old
    assert hub_weights(match_hub(HubName(REPO), RULES, update=True)).revision == new
    card = match_hub(HubName(REPO), RULES)
    assert hub_weights(card).revision == new
    assert "scheduler_config.json" in {file.name for file in hub_weights(card).files}


def test_what_was_pulled_is_matched_without_a_network(
    loopback_hub: LoopbackHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(REPO, files, license="mit")
    card = match_hub(HubName(REPO), RULES)
    checkpoint = get_checkpoint(card)
    loopback_hub.requests.clear()
    assert match_hub(HubName(REPO), RULES) == card
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert match_hub(HubName(REPO), RULES) == card
    assert get_checkpoint(card) == checkpoint
    assert loopback_hub.requests == []


def test_what_another_tool_pulled_is_matched_without_a_network(
    loopback_hub: LoopbackHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    from zoo_core.weights import cache_folder

    commit = loopback_hub.add(REPO, files)
    HfApi(endpoint=loopback_hub.endpoint).snapshot_download(REPO, cache_dir=cache_folder())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    card = match_hub(HubName(REPO), RULES)
    assert hub_weights(card).revision == commit
    assert torch.equal(get_checkpoint(card).tensors("model")["a"], torch.ones(2))


def test_what_another_tool_pulled_in_part_is_not_taken_for_the_whole(
    loopback_hub: LoopbackHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    from zoo_core.weights import cache_folder

    loopback_hub.add(REPO, files)
    HfApi(endpoint=loopback_hub.endpoint).hf_hub_download(REPO, "config.json", cache_dir=cache_folder())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="All of org/model@main is not in the cache"):
        match_hub(HubName(REPO), RULES)


def test_what_was_never_pulled_is_refused_without_a_network(
    loopback_hub: LoopbackHub, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(REPO, files)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for revision in (None, "0" * 40):
        with pytest.raises(WeightsError, match="HF_HUB_OFFLINE forbids"):
            match_hub(HubName(REPO, revision), RULES)


def test_shards_in_a_repository_are_found_through_their_index(loopback_hub: LoopbackHub) -> None:
    index = json.dumps({"weight_map": {"a": "model-1-of-02.bin", "b": "model-2-of-02.bin"}}).encode()
    files = {
        "config.json": config(),
        "model.bin.index.json": index,
        "model-1-of-02.bin": b"1",
        "model-2-of-02.bin": b"2",
    }
    loopback_hub.add(REPO, files)
    card = match_hub(HubName(REPO), RULES)
    assert [file.name for file in hub_weights(card).files] == list(files)
    assert loopback_hub.count("GET", "*-of-02.bin") == 0


def test_a_repository_that_no_rule_knows(loopback_hub: LoopbackHub, files: dict[str, bytes]) -> None:
    loopback_hub.add(REPO, {**files, "config.json": config("AutoencoderKL")})
    with pytest.raises(WeightsError, match=r"hf:org/model: it is a network of diffusers \(AutoencoderKL"):
        match_hub(HubName(REPO), RULES)
    loopback_hub.add("org/other", {"README.md": b"", "net.pkl": b""})
    with pytest.raises(WeightsError, match=r"hf:org/other: it is a pickle \(net\.pkl\)") as raised:
        match_hub(HubName("org/other"), RULES)
    assert "net.pkl" in raised.value.remedy


def test_a_revision_that_is_not_there(loopback_hub: LoopbackHub, files: dict[str, bytes]) -> None:
    loopback_hub.add(REPO, files)
    with pytest.raises(WeightsError, match="has no branch, tag or commit v9"):
        match_hub(HubName(REPO, "v9"), RULES)


def test_half_precision_is_used_where_there_is_nothing_else(tmp_path: Path, files: dict[str, bytes]) -> None:
    weights = files.pop("model.safetensors")
    folder = write(tmp_path / "half", {**files, "model.fp16.safetensors": weights})
    assert match_path(folder, RULES).weights == LocalWeights(
        folder, ("config.json", "model.fp16.safetensors")
    )
    write(folder, {"model.safetensors": weights})
    assert match_path(folder, RULES).weights == LocalWeights(folder, ("config.json", "model.safetensors"))


def test_a_config_that_names_no_architecture_is_known_by_its_keys(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    by_keys = replace(RULES[1], where={}, keys=("dim", "depth"))
    folder = write(tmp_path / "model", files | {"config.json": b'{"dim": 4, "depth": null, "other": 1}'})
    assert match_path(folder, [RULES[2], by_keys]).plugin == "zoo-flat"
    write(folder, {"config.json": b'{"dim": 4}'})
    with pytest.raises(WeightsError) as caught:
        match_path(folder, [by_keys])
    assert "No installed plugin runs" in caught.value.message


def test_a_checkpoint_with_a_file_that_the_rule_excludes_is_another_model(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    folder = write(tmp_path / "mine", {**files, "vae/config.json": b"{}"})
    rules = [replace(RULES[1], without=("vae/config.json",)), replace(RULES[1], plugin="zoo-latent")]
    assert match_path(folder, rules).plugin == "zoo-latent"


def test_a_file_is_recognised_by_its_tensors(tmp_path: Path, files: dict[str, bytes]) -> None:
    path = write(tmp_path, files) / "model.safetensors"
    rules = [
        replace(RULES[1], suffix=".safetensors", keys=("b",), plugin="zoo-other"),
        replace(RULES[1], suffix=".safetensors", keys=("a",)),
    ]
    assert match_path(path, rules).plugin == "zoo-flat"
    with pytest.raises(WeightsError, match="no installed plugin runs"):
        match_path(path, rules[:1])
    (tmp_path / "config.json").unlink()
    with pytest.raises(
        WeightsError, match="No installed plugin runs"
    ):  # in a folder, another model's weights
        match_path(tmp_path, rules)
