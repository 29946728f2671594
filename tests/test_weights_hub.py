"""Weights from the Hub: pinned, verified at every load, repaired or refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import HubWeights, ModelCard, WeightsFile
from zoo_core.testing.hub import Kind, LoopbackHub
from zoo_core.weights import Plan, cache_folder, get_checkpoint, plan
from zoo_core.weights.cache import cached_file, folder_name
from zoo_core.weights.hub import sweep
from zoo_core.weights.lock import lock_file

REPO = "org/model"
CONFIG = b'{"a": 1}'
WEIGHTS = bytes(range(256)) * 40
FILES = {"config.json": CONFIG, "unet/model.safetensors": WEIGHTS}


def card(
    revision: str | None = None, files: dict[str, bytes] | None = None, *, known: bool = False
) -> ModelCard:
    """A card of the repository; ``known``: it names sizes and hashes."""
    return ModelCard(
        id="model",
        plugin="zoo-test",
        summary="",
        family="test",
        output="image",
        license="mit",
        weights=HubWeights(
            REPO,
            revision,
            tuple(
                WeightsFile(name, len(content), hashlib.sha256(content).hexdigest())
                if known
                else WeightsFile(name)
                for name, content in (files or FILES).items()
            ),
        ),
    )


def blob(commit: str, name: str = "unet/model.safetensors") -> Path:
    return cached_file(REPO, commit, name).resolve()


def test_a_checkpoint_has_its_files_source_and_digest(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    checkpoint = get_checkpoint(card(commit))
    assert {name: path.read_bytes() for name, path in checkpoint.files.items()} == FILES
    assert checkpoint.source == f"hf:{REPO}@{commit}"
    assert checkpoint.json("config.json") == {"a": 1}
    assert checkpoint.has("config.json")
    assert not checkpoint.has("README.md")
    lines = "".join(f"{hashlib.sha256(FILES[name]).hexdigest()}  {name}\n" for name in sorted(FILES))
    assert checkpoint.digest == "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def test_only_the_files_of_the_card_are_fetched(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, {**FILES, "huge.bin": b"x"})
    get_checkpoint(card(commit))
    assert loopback_hub.count("GET", "*huge.bin") == 0


def test_a_second_run_asks_nothing(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    first = get_checkpoint(card())
    loopback_hub.requests.clear()
    assert get_checkpoint(card()) == first
    assert loopback_hub.requests == []


def test_a_second_run_needs_no_network(loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch) -> None:
    loopback_hub.add(REPO, FILES)
    first = get_checkpoint(card())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get_checkpoint(card()) == first
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert get_checkpoint(card()) == first


def test_what_another_tool_fetched_is_used(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi

    commit = loopback_hub.add(REPO, FILES)
    HfApi(endpoint=loopback_hub.endpoint).snapshot_download(REPO, cache_dir=cache_folder())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert get_checkpoint(card(commit)).source.endswith(commit)
    assert get_checkpoint(card()).source.endswith(commit)


@pytest.mark.parametrize(
    ("licence", "clause"),
    [
        ("creativeml-openrail-m", "forbids harmful uses"),
        ("CC-BY-NC-SA-4.0", "allows no commercial use"),
        ("other", "has terms of its own"),
        ("mit", None),
        ("apache-2.0", None),
        ("openrail\x1b[2J", "openrail\\\\x1b"),
    ],
)
def test_use_clauses_are_told_before_the_first_download(
    loopback_hub: LoopbackHub, caplog: pytest.LogCaptureFixture, licence: str, clause: str | None
) -> None:
    loopback_hub.add(REPO, FILES)
    model = replace(card(), license=licence)
    get_checkpoint(model, check=lambda checkpoint, read: None)
    told = caplog.text
    assert bool(told) == (clause is not None)
    if clause is not None:
        assert re.search(clause, told)
        assert f"Read it: {loopback_hub.endpoint}/{REPO}" in told
    get_checkpoint(model)
    assert caplog.text == told  # once


# The lock file


def test_an_unpinned_model_stays_at_the_commit_of_its_first_pull(loopback_hub: LoopbackHub) -> None:
    old = loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    new = loopback_hub.add(REPO, {**FILES, "config.json": b'{"a": 2}'})
    assert get_checkpoint(card()).source.endswith(old)
    assert get_checkpoint(card(), update=True).source.endswith(new)
    assert get_checkpoint(card()).json("config.json") == {"a": 2}


def test_the_lock_file_records_commit_size_and_hash(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    entry = json.loads(lock_file().read_text())["repos"][REPO]
    assert entry["pins"] == {"main": commit}
    assert entry["commits"][commit]["verified"] == {
        name: {"bytes": len(content), "hash": hashlib.sha256(content).hexdigest()}
        for name, content in FILES.items()
    }


def test_a_pinned_model_is_not_moved_by_an_update(loopback_hub: LoopbackHub) -> None:
    old = loopback_hub.add(REPO, FILES)
    loopback_hub.add(REPO, {"config.json": b"{}"})
    assert get_checkpoint(card(old), update=True).source.endswith(old)


def test_a_failed_update_leaves_the_old_commit_in_use(loopback_hub: LoopbackHub) -> None:
    old = loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    loopback_hub.add(REPO, {"config.json": b"{}"})  # the weights are gone
    with pytest.raises(WeightsError, match="has no file unet/model"):
        get_checkpoint(card(), update=True)
    assert get_checkpoint(card()).source.endswith(old)


def test_an_update_without_a_network_is_refused(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="cannot be updated") as raised:
        get_checkpoint(card(), update=True)
    assert raised.value.remedy == "Unset HF_HUB_OFFLINE."


@pytest.mark.parametrize(
    "document",
    [
        {"schema": 2, "repos": {}},
        {"schema": 1, "repos": []},
        {"schema": 1, "repos": {REPO: {"pins": {"main": "../../.."}}}},
        {"schema": 1, "repos": {REPO: {"pins": {"main": "0" * 40}, "commits": {"0" * 40: {"verified": 3}}}}},
        {
            "schema": 1,
            "repos": {REPO: {"pins": {"main": "0" * 40}, "commits": {"0" * 40: {"verified": {"a": 1}}}}},
        },
    ],
)
def test_a_damaged_lock_file_is_named_with_the_remedy(loopback_hub: LoopbackHub, document: object) -> None:
    loopback_hub.add(REPO, FILES)
    lock_file().parent.mkdir(parents=True)
    lock_file().write_text(json.dumps(document))
    with pytest.raises(WeightsError, match=r"lock\.json is not a lock file") as raised:
        get_checkpoint(card())
    assert "Remove that file" in raised.value.remedy


# A file in the cache that is not what it was


def damage_truncate(commit: str) -> None:
    blob(commit).write_bytes(WEIGHTS[:100])


def damage_alter(commit: str) -> None:
    blob(commit).write_bytes(WEIGHTS[:-1] + b"!")


def damage_small_file(commit: str) -> None:
    blob(commit, "config.json").write_bytes(b'{"a": 9}')


def damage_copy_in_place_of_link(commit: str) -> None:
    path = cached_file(REPO, commit, "unet/model.safetensors")
    path.unlink()
    path.write_bytes(b"!" * len(WEIGHTS))


def damage_link_elsewhere(commit: str) -> None:
    path = cached_file(REPO, commit, "unet/model.safetensors")
    path.unlink()
    path.symlink_to(blob(commit, "config.json"))


Damage = Callable[[str], None]
DAMAGES: list[Damage] = [
    damage_truncate,
    damage_alter,
    damage_small_file,
    damage_copy_in_place_of_link,
    damage_link_elsewhere,
]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_altered_file_is_repaired(loopback_hub: LoopbackHub, damage: Damage, known: bool) -> None:
    commit = loopback_hub.add(REPO, FILES)
    first = get_checkpoint(card(commit, known=known))
    damage(commit)
    assert get_checkpoint(card(commit, known=known)) == first
    assert {name: path.read_bytes() for name, path in first.files.items()} == FILES


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_altered_file_is_refused_where_it_cannot_be_repaired(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch, damage: Damage
) -> None:
    commit = loopback_hub.add(REPO, FILES)
    get_checkpoint(card(commit))
    damage(commit)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"has (\d+ bytes|a hash).*forbids fetching it again"):
        get_checkpoint(card(commit))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WeightsError, match=r"has (\d+ bytes|a hash).*cannot be reached"):
        get_checkpoint(card(commit))


def test_a_missing_blob_is_fetched_again(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    first = get_checkpoint(card(commit))
    blob(commit).unlink()
    assert get_checkpoint(card(commit)) == first


def test_a_file_that_nothing_vouches_for_is_not_used(
    loopback_hub: LoopbackHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = loopback_hub.add(REPO, FILES)
    for name, content in FILES.items():  # as a cache without links has them
        path = cached_file(REPO, commit, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="no hash to be verified against"):
        get_checkpoint(card(commit))
    assert get_checkpoint(card(commit, known=True)).digest


# A transfer that goes wrong


@pytest.mark.parametrize("kind", ["truncate", "corrupt"])
def test_a_file_that_comes_damaged_is_fetched_once_more(loopback_hub: LoopbackHub, kind: Kind) -> None:
    commit = loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave(kind, "*.safetensors", times=1)
    assert get_checkpoint(card(commit)).files["unet/model.safetensors"].read_bytes() == WEIGHTS
    assert loopback_hub.count("GET", "*.safetensors") == 2


@pytest.mark.parametrize("kind", ["truncate", "corrupt"])
def test_a_file_that_keeps_coming_damaged_is_refused(loopback_hub: LoopbackHub, kind: Kind) -> None:
    commit = loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave(kind, "*.safetensors")
    for _ in range(2):  # and what was left in the cache is not taken for good the next time
        with pytest.raises(
            WeightsError, match=r"unet/model\.safetensors of org/model.*second download"
        ) as raised:
            get_checkpoint(card(commit))
        assert "tell the author" in raised.value.remedy
        assert kind == "corrupt" or "arrived incomplete" in raised.value.message
    assert loopback_hub.count("GET", "*.safetensors") == 4


def test_a_file_that_is_not_the_one_on_the_card_is_refused(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    other = {**FILES, "unet/model.safetensors": WEIGHTS[::-1]}
    with pytest.raises(WeightsError, match="has a hash other than"):
        get_checkpoint(card(commit, other, known=True))
    with pytest.raises(WeightsError, match=r"has 10240 bytes instead of 4"):
        get_checkpoint(card(commit, {**FILES, "unet/model.safetensors": b"four"}, known=True))


def test_a_dropped_connection_is_taken_up_again(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave("drop", "*.safetensors", times=1)
    assert get_checkpoint(card(commit)).files["unet/model.safetensors"].read_bytes() == WEIGHTS


def test_abandoned_partial_files_are_swept_and_live_ones_left(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    get_checkpoint(card(commit))
    abandoned, live = blob(commit).parent / "a.0.incomplete", blob(commit).parent / "b.1.incomplete"
    abandoned.touch()
    live.touch()
    with FileLock(cache_folder() / ".locks" / folder_name(REPO) / "b.lock"):
        sweep(REPO)
    assert not abandoned.exists()
    assert live.exists()


# Saying beforehand what will be fetched


def test_the_plan_says_what_is_missing_and_how_large_it_is(loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES)
    first = plan(card())
    assert first is not None
    assert (first.commit, first.bytes) == (commit, len(CONFIG) + len(WEIGHTS))
    assert {file.name for file in first.files} == set(FILES)
    assert loopback_hub.count("*", "*/resolve/*") == 0
    get_checkpoint(card())
    second = plan(card())
    assert second is not None
    assert (second.files, second.bytes) == ((), 0)


def test_a_plan_pins_nothing(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    plan(card())
    new = loopback_hub.add(REPO, {**FILES, "config.json": b"{}"})
    assert get_checkpoint(card()).source.endswith(new)


def test_the_plan_is_announced_before_anything_is_fetched(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    plans: list[Plan] = []

    def announce(plan: Plan) -> None:
        assert loopback_hub.count("GET", "*/resolve/*") == 0
        plans.append(plan)

    get_checkpoint(card(), announce=announce)
    get_checkpoint(card(), announce=announce)
    assert [plan.bytes for plan in plans] == [len(CONFIG) + len(WEIGHTS)]


def test_a_download_that_does_not_fit_is_refused_beforehand(loopback_hub: LoopbackHub) -> None:
    class Enormous(bytes):
        def __len__(self) -> int:
            return 10**18

    commit = loopback_hub.add(REPO, {**FILES, "unet/model.safetensors": Enormous(WEIGHTS)})
    with pytest.raises(WeightsError, match=r"needs 1,000,000,000,000 MB; [\d,]+ MB are free") as raised:
        get_checkpoint(card(commit))
    assert "HF_HOME" in raised.value.remedy
    assert loopback_hub.count("GET", "*/resolve/*") == 0


def test_progress_is_shown_on_a_terminal_alone(
    loopback_hub: LoopbackHub, capfd: pytest.CaptureFixture[str]
) -> None:
    loopback_hub.add(REPO, FILES)
    get_checkpoint(card())
    assert capfd.readouterr() == ("", "")
