"""The loopback Hub with the real huggingface_hub client."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from zoo_core.testing.hub import TOKEN, LoopbackHub

REPO = "org/model"
WEIGHTS = bytes(range(256)) * 400
FILES = {"config.json": b'{"a": 1}', "unet/model.safetensors": WEIGHTS}


@pytest.fixture
def api(loopback_hub: LoopbackHub) -> HfApi:
    return HfApi(endpoint=loopback_hub.endpoint)


def fetch(
    api: HfApi, name: str, tmp_path: Path, *, revision: str | None = None, token: str | bool | None = None
) -> Path:
    return Path(api.hf_hub_download(REPO, name, cache_dir=tmp_path / "cache", revision=revision, token=token))


def test_downloaded_files_equal_the_added_ones(api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    commit = loopback_hub.add(REPO, FILES)
    folder = Path(api.snapshot_download(REPO, cache_dir=tmp_path / "cache"))
    assert folder.name == commit
    assert {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    } == FILES


def test_a_folder_can_be_served(api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    (tmp_path / "there" / "unet").mkdir(parents=True)
    (tmp_path / "there" / "unet" / "config.json").write_text("{}")
    loopback_hub.add(REPO, tmp_path / "there")
    assert fetch(api, "unet/config.json", tmp_path).read_text() == "{}"


def test_the_cache_names_lfs_files_by_sha256_and_others_by_git_sha1(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    loopback_hub.add(REPO, FILES)
    assert len(Path(os.readlink(fetch(api, "unet/model.safetensors", tmp_path))).name) == 64
    config = fetch(api, "config.json", tmp_path)
    git = subprocess.run(["git", "hash-object", config], capture_output=True, text=True, check=True)
    assert Path(os.readlink(config)).name == git.stdout.strip()


def test_a_cached_commit_costs_no_request(api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    commit = loopback_hub.add(REPO, FILES)
    fetch(api, "config.json", tmp_path, revision=commit)
    before = loopback_hub.count()
    fetch(api, "config.json", tmp_path, revision=commit)
    assert loopback_hub.count() == before


def test_model_info_has_sizes_hashes_and_licence(api: HfApi, loopback_hub: LoopbackHub) -> None:
    commit = loopback_hub.add(REPO, FILES, license="mit")
    info = api.model_info(REPO, files_metadata=True)
    assert info.sha == commit
    assert info.card_data is not None
    assert info.card_data.license == "mit"
    assert info.siblings is not None
    config, weights = info.siblings
    assert (config.rfilename, config.size, config.lfs) == ("config.json", 8, None)
    assert weights.lfs is not None
    assert weights.lfs.size == len(WEIGHTS)


def test_branches_tags_and_commits_can_be_named(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    old = loopback_hub.add(REPO, {"a": b"old"})
    new = loopback_hub.add(REPO, {"a": b"new"})
    review = loopback_hub.add(REPO, {"a": b"review"}, branch="refs/pr/1")
    assert len({old, new, review}) == 3
    for revision, content in {old: b"old", "main": b"new", "refs/pr/1": b"review"}.items():
        assert fetch(api, "a", tmp_path, revision=revision).read_bytes() == content
    assert api.model_info(REPO, revision="refs/pr/1").sha == review


def test_long_listings_come_in_pages(api: HfApi, loopback_hub: LoopbackHub) -> None:
    names = {f"folder/{number}" for number in range(25)}
    loopback_hub.add(REPO, dict.fromkeys(names, b""))
    loopback_hub.page_size = 10
    listed = {entry.path for entry in api.list_repo_tree(REPO, recursive=True)}
    assert listed == names | {"folder"}
    assert loopback_hub.count("GET", "*/tree/*") == 3
    assert {entry.path for entry in api.list_repo_tree(REPO)} == {"folder"}


def test_missing_things_raise_the_clients_errors(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("org/nothing")
    loopback_hub.add(REPO, FILES)
    with pytest.raises(RevisionNotFoundError):
        fetch(api, "config.json", tmp_path, revision="nowhere")
    with pytest.raises(RemoteEntryNotFoundError):
        fetch(api, "nothing.json", tmp_path)


def test_a_private_repository_needs_the_token(api: HfApi, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES, private=True)
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(REPO)
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.model_info(REPO, token="hf_wrong")
    assert api.model_info(REPO, token=TOKEN).private


def test_a_gated_repository_has_a_listing_but_no_files(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    loopback_hub.add(REPO, FILES, gated=True)
    assert api.model_info(REPO).gated == "manual"
    for token in (False, TOKEN):
        with pytest.raises(GatedRepoError):
            fetch(api, "config.json", tmp_path, token=token)
    loopback_hub.add(REPO, FILES, gated=True, granted=True)
    assert fetch(api, "config.json", tmp_path, token=TOKEN).is_file()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_any_status_can_be_simulated(api: HfApi, loopback_hub: LoopbackHub, status: int) -> None:
    loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave(status, "/api/*")
    with pytest.raises(HfHubHTTPError) as raised:
        api.model_info(REPO)
    assert raised.value.response.status_code == status


def test_misbehaviour_ends_after_its_times(api: HfApi, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave(500, times=2)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError):
            api.model_info(REPO)
    assert api.model_info(REPO).id == REPO


def test_misbehaviour_ends_when_told(api: HfApi, loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave(500)
    loopback_hub.behave()
    assert api.model_info(REPO).id == REPO


def test_a_truncated_file_is_noticed_by_its_size(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave("truncate", "*.safetensors", times=1)
    with pytest.raises(OSError, match="Consistency check failed"):
        fetch(api, "unet/model.safetensors", tmp_path)


def test_the_client_itself_does_not_notice_wrong_bytes(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave("corrupt", "*.safetensors", times=1)
    got = fetch(api, "unet/model.safetensors", tmp_path).read_bytes()
    assert len(got) == len(WEIGHTS)
    assert got != WEIGHTS


def test_after_a_dropped_connection_the_client_asks_for_the_rest(
    api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path
) -> None:
    chunk = 10 << 20  # the client writes, and so resumes, in steps of this size
    large = bytes(3 * chunk)
    loopback_hub.add(REPO, {"model.safetensors": large})
    loopback_hub.misbehave("drop", "*.safetensors", times=1)
    assert fetch(api, "model.safetensors", tmp_path).read_bytes() == large
    assert [r.range for r in loopback_hub.requests if r.status == 206] == [f"bytes={chunk}-"]


def test_a_slow_file_takes_longer(api: HfApi, loopback_hub: LoopbackHub, tmp_path: Path) -> None:
    loopback_hub.add(REPO, FILES)
    loopback_hub.misbehave("slow", "*.safetensors", seconds=0.3)
    begin = time.monotonic()
    fetch(api, "unet/model.safetensors", tmp_path)
    assert time.monotonic() - begin >= 0.3


def test_processes_find_the_hub_through_the_environment(loopback_hub: LoopbackHub) -> None:
    loopback_hub.add(REPO, FILES)
    program = f"import huggingface_hub as h; print(h.hf_hub_download('{REPO}', 'config.json'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **loopback_hub.env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(done.stdout.strip()).read_bytes() == FILES["config.json"]
    assert Path(done.stdout.strip()).is_relative_to(loopback_hub.home / "hf")


def test_an_isolated_home_reaches_no_hub(isolated_home: Path, tmp_path: Path) -> None:
    api = HfApi(endpoint=os.environ["HF_ENDPOINT"])
    with pytest.raises(LocalEntryNotFoundError):
        api.hf_hub_download(REPO, "config.json", cache_dir=tmp_path, local_files_only=True)
    assert not isolated_home.exists()


def test_outside_its_with_block_the_hub_has_no_endpoint(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="only within"):
        _ = LoopbackHub(tmp_path).endpoint
