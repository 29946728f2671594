"""Reading GGUF: every quantisation, and damaged files."""

from __future__ import annotations

import random
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.gguf.file import LocalFile, read_gguf
from zoo_gpt.network.checkpoint import load_transformer
from zoo_gpt.text.tokenizer import Tokenizer

from zoo_core import Checkpoint, WeightsError, ZooError

KINDS = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K", "Q2_K", "Q3_K"]


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
@pytest.mark.parametrize("kind", KINDS)
def test_a_quantisation_is_what_the_library_makes_of_it(tmp_path: Path, kind: str) -> None:
    type_ = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[type_]
    data = np.random.default_rng(0).integers(0, 256, (6, 512 // block * size), dtype=np.uint8)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    if kind in ("F32", "F16"):
        data = np.random.default_rng(0).normal(size=(6, 512)).astype(kind.replace("F", "float"))
        writer.add_tensor("x", data)
    else:
        writer.add_tensor("x", data, raw_dtype=type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    blocks = read_gguf(LocalFile(tmp_path / "x.gguf")).tensors["x"]
    theirs = gguf.GGUFReader(tmp_path / "x.gguf").tensors[0]
    assert blocks.shape == (6, 512)
    assert np.array_equal(blocks.data, np.ascontiguousarray(theirs.data).view(np.uint8))
    numbers = blocks.numbers()
    assert numbers.dtype == np.float32
    expected = dequantize(np.array(theirs.data), theirs.tensor_type)
    assert np.array_equal(numbers, expected, equal_nan=True)
    order = np.array([5, 0, 3])
    assert np.array_equal(blocks.rows(order).numbers(), numbers[order], equal_nan=True)


def open_file(path: Path) -> None:
    checkpoint = GGUFCheckpoint.of(Checkpoint(str(path), {path.name: path}, "sha256:0"))
    Tokenizer.read(checkpoint).encode("the cat")
    load_transformer(checkpoint)


def problem(path: Path) -> ZooError | None:
    try:
        open_file(path)
    except ZooError as error:
        return error
    return None


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_a_damaged_header_is_one_clear_line(llama_file: Path, tmp_path: Path) -> None:
    whole = llama_file.read_bytes()
    header = whole.index(b"blk.1.") + 400
    path, chosen, refused = tmp_path / "x.gguf", random.Random(0), 0
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chosen.choice((1, 1, 4))):
            place = chosen.randrange(header)
            data[place : place + chosen.choice((1, 8))] = chosen.randbytes(1) * chosen.choice((1, 8))
        path.write_bytes(data[: chosen.choice((len(data), chosen.randrange(len(data))))])
        error = problem(path)
        assert error is None or (len(error.message) < 400 and error.message.isprintable() and error.remedy)
        refused += error is not None
    assert refused > 100


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: b"", "cannot be read"),
        (lambda d: b"GGUX" + d[4:], "does not begin with GGUF"),
        (lambda d: d[:4] + b"\0\0\0\3" + d[8:], "its version is 50331648"),
        (lambda d: d[:8] + b"\xff" * 8 + d[16:], "a count or a length is 18,446,744,073,709,551,615"),
        (lambda d: d[:50], "it ends at byte 50"),
        (lambda d: d[:-4], "ends behind the end of the file"),
        (lambda d: d.replace(b"llama", b"mamba", 1), "its architecture is 'mamba'"),
        (lambda d: d.replace(b"smollm", b"smolmm", 1), "cuts texts as 'smolmm'"),
        (lambda d: d.replace(b"attn_q.weight", b"attn_x.weight", 1), "has no tensor 'blk.0.attn_x.weight'"),
        (lambda d: d.replace(b"blk.1.attn_q", b"blk.0.attn_q", 1), "occurs twice"),
        (
            lambda d: d.replace(b"context_length", b"context_lengtx"),
            "has no llama.context_length",
        ),
    ],
)
def test_what_is_wrong_is_named(llama_file: Path, tmp_path: Path, change, told: str) -> None:
    (tmp_path / "x.gguf").write_bytes(change(llama_file.read_bytes()))
    with pytest.raises(WeightsError) as raised:
        open_file(tmp_path / "x.gguf")
    assert told in raised.value.message


def test_parts_are_one_file(llama_file: Path, llama_parts: list[Path]) -> None:
    whole, parts = read_gguf(LocalFile(llama_file)), read_gguf(*map(LocalFile, llama_parts))
    assert len(llama_parts) == 3
    assert whole.tensors.keys() == parts.tensors.keys()
    assert all(np.array_equal(parts.tensors[n].data, b.data) for n, b in whole.tensors.items())
    for wrong, told in (
        (llama_parts[:1], "it is part 0 from 0 of 3"),
        (llama_parts[::-1], "it is part 2 from 0 of 3, not 0"),
        ([*llama_parts[:2], llama_parts[1]], "it is part 1 from 0 of 3, not 2"),
    ):
        with pytest.raises(WeightsError, match=told):
            read_gguf(*map(LocalFile, wrong))
