"""Records: plain data that comes back equal, tells samples apart, and refuses what it cannot mean."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_samples import make_record

from zoo_core import OptionError, OutputError, PluginError
from zoo_core.samples.record import Record


def test_a_record_comes_back_equal_through_json() -> None:
    record = make_record(
        2**63 - 1,
        prompt="füchse \U0001f98a \udcff",
        options={"a": None, "b": True, "c": 1, "d": 1.0, "e": "x"},
        metadata={"label": 4, "why": ["end", {"deep": None}]},
    )
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record
    assert type(again.options["d"]) is float
    assert type(again.options["c"]) is int


def test_metadata_is_kept_as_json_would_give_it_back() -> None:
    metadata = {"pair": (1, 2), "low": float("-inf"), "odd": float("nan"), "mean": np.float64(0.5)}
    assert make_record(metadata=metadata).metadata == {
        "pair": [1, 2],
        "low": "-inf",
        "odd": "nan",
        "mean": 0.5,
    }


@pytest.mark.parametrize("value", [np.zeros(2), {1, 2}, b"x", {3: "x"}, np.float32(1)])
def test_metadata_that_is_not_json_names_the_plugin_and_the_key(value: object) -> None:
    with pytest.raises(PluginError, match=r"zoo-test reports metadata\.f as"):
        make_record(metadata={"f": value})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), [1, 2], {"a": 1}, b"x"])
def test_an_option_that_no_file_could_hold_is_refused(value: Any) -> None:
    with pytest.raises(OptionError, match="Option 'temperature' cannot be recorded") as caught:
        make_record(options={"temperature": value})
    assert "finite number" in caught.value.remedy


@pytest.mark.parametrize(
    "change",
    [
        {"plugin": "zoo-other"},
        {"checkpoint": {"source": "zoo-test 1.0 weights", "digest": "sha256:ff"}},
        {"seed": 1},
        {"prompt": ""},
        {"options": {"label": 4, "guidance": 1.5, "sampler": "ddim"}},
        {"dtype": "bfloat16"},
        {"output": "text"},
    ],
)
def test_whatever_determines_a_sample_is_in_its_identity(change: dict[str, Any]) -> None:
    assert replace(make_record(), **change).identity != make_record().identity


@pytest.mark.parametrize(
    "change",
    [
        {"model": "an-alias"},
        {"device": "cuda"},
        {"versions": {"torch": "3.0"}},
        {"metadata": {"label": 4}},
        {"options": {"sampler": "ddim", "guidance": 1.5, "label": 3}},
        {"checkpoint": {"source": "elsewhere", "digest": make_record().checkpoint["digest"]}},
    ],
)
def test_where_and_under_which_name_it_ran_is_not(change: dict[str, Any]) -> None:
    assert replace(make_record(), **change).identity == make_record().identity


def test_a_record_of_a_newer_version_says_so() -> None:
    with pytest.raises(OutputError, match="schema 3; this version reads schemas 1 to 2") as caught:
        Record.from_json({**make_record().to_json(), "schema": 3})
    assert "Upgrade" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "7"}, "'seed' is '7'"),
        ({"seed": True}, "'seed' is True"),
        ({"seed": 1.5}, "'seed' is 1.5"),
        ({"model": None}, "'model' is None"),
        ({"prompt": ["x" * 1000]}, "'prompt' is .{60}"),
        ({"versions": {"torch": 2}}, "'versions' holds something other than strings"),
        ({"versions": []}, r"'versions' is \[\]"),
        ({"checkpoint": {"source": "x"}}, "'checkpoint' lacks 'digest'"),
        ({"checkpoint": "x"}, "'checkpoint' is 'x'"),
        ({"options": {"label": [1]}}, "Option 'label' cannot be recorded"),
        ({"metadata": 3}, "'metadata' is 3"),
        ({"schema": "1"}, "'schema' is '1'"),
    ],
)
def test_a_record_with_a_wrong_type_says_which(change: dict[str, Any], message: str) -> None:
    with pytest.raises(OutputError, match=message):
        Record.from_json({**make_record().to_json(), **change})


@pytest.mark.parametrize("key", list(make_record().to_json()))
def test_a_record_that_lacks_a_field_says_which(key: str) -> None:
    document = make_record().to_json()
    del document[key]
    with pytest.raises(OutputError, match=f"the record lacks '{key}'"):
        Record.from_json(document)


@pytest.mark.parametrize("document", [None, [], "x", 3])
def test_what_is_no_object_is_no_record(document: object) -> None:
    with pytest.raises(OutputError, match="the record is not an object"):
        Record.from_json(document)


def test_importing_what_makes_records_and_files_imports_neither_torch_nor_pillow() -> None:
    program = "import sys, zoo_core.samples; sys.exit(bool({'torch', 'PIL'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
