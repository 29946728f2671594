"""Files that claim, loop or grow: each ends soon, in little memory, with an error of two lines."""

from __future__ import annotations

import json
import resource
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import zoo_core as zoo
from zoo_core import ZooError

pytestmark = pytest.mark.slow

SECONDS = 10
BYTES = 1.5e9
Change = Callable[[Path], None]

LLAMA = {
    "model_type": "llama",
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 48,
}
NEO = {
    "model_type": "gpt_neo",
    "vocab_size": 300,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 2,
    "max_position_embeddings": 48,
}


def edit(name: str, **values: Any) -> Change:
    """Set values in a JSON file."""

    def change(folder: Path) -> None:
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return change


def write(name: str, content: str | bytes | Callable[[], str]) -> Change:
    """Replace a file."""

    def change(folder: Path) -> None:
        text = content() if callable(content) else content
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)

    return change


def weights(edit_tensors: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Change the tensors."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit_tensors(tensors)
        save_file(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "model.safetensors"
        )

    return change


def replaced(name: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return weights(lambda tensors: tensors.__setitem__(name, make(tensors[name])))


def replace_step(old: str, new: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def template(text: str | Callable[[], str]) -> Change:
    return write("chat_template.jinja", text)


QKV = "transformer.h.0.attn.c_attn.weight"
WTE = "transformer.wte.weight"
DOUBLE = "{% set ns = namespace(x='x' * 1000) %}{% for i in range(60) %}{% set ns.x = "

CONFIGS = {
    "1e5 layers": edit("config.json", n_layer=10**5),
    "1e9 layers": edit("config.json", n_layer=10**9),
    "999 layers": edit("config.json", n_layer=999),
    "3 layers": edit("config.json", n_layer=3),
    "wide": edit("config.json", n_embd=2**20, n_head=2),
    "very wide": edit("config.json", n_embd=2**70),
    "huge vocabulary": edit("config.json", vocab_size=2**24),
    "huge MLP": edit("config.json", n_inner=2**24),
    "huge context": edit("config.json", n_positions=2**23),
    "1e18 positions": edit("config.json", n_positions=10**18),
    "many heads": edit("config.json", n_head=2**20),
    "negative heads": edit("config.json", n_head=-2),
    "more heads than width": edit("config.json", n_head=64),
    "infinite epsilon": edit("config.json", layer_norm_epsilon=float("inf")),
    "NaN epsilon": edit("config.json", layer_norm_epsilon=float("nan")),
    "negative epsilon": edit("config.json", layer_norm_epsilon=-1.0),
    "long setting": edit("config.json", quantization_config={"x" * 10**6: "y" * 10**6}),
    "unknown model_type": edit("config.json", model_type="\x1b]0;title\x07" + "x" * 10**6),
    "no model_type": edit("config.json", model_type=None),
    "deep config": write("config.json", '{"model_type": ' + "[" * 3000 + "]" * 3000 + "}"),
    "no object": write("config.json", "[]"),
    "no JSON": write("config.json", b"\xff\xfe\x00"),
    "1e8 patterns": write(
        "config.json", json.dumps(NEO | {"attention_types": [[["global", "local"], 10**8]]})
    ),
    "negative pattern": write("config.json", json.dumps(NEO | {"attention_types": [[["global"], -5]]})),
    "pattern of objects": write("config.json", json.dumps(NEO | {"attention_types": [[[{}], 2]]})),
    "llama's head_dim": write("config.json", json.dumps(LLAMA | {"head_dim": 10**9})),
    "llama's negative head_dim": write("config.json", json.dumps(LLAMA | {"head_dim": -4})),
    "llama's odd head_dim": write("config.json", json.dumps(LLAMA | {"head_dim": 3})),
    "rotary share": write("config.json", json.dumps(LLAMA | {"partial_rotary_factor": 1e9})),
    "rotary share in words": write(
        "config.json", json.dumps(LLAMA | {"rope_parameters": {"partial_rotary_factor": "all"}})
    ),
    "rotary theta": write("config.json", json.dumps(LLAMA | {"rope_theta": -1.0})),
    "rotary factor": write(
        "config.json", json.dumps(LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": 0}})
    ),
    "rotary type": write("config.json", json.dumps(LLAMA | {"rope_scaling": {"rope_type": ["x"]}})),
    "other family": write("config.json", json.dumps(LLAMA)),
}
WEIGHTS = {
    "missing": weights(lambda tensors: tensors.pop(QKV)),
    "extra": weights(lambda tensors: tensors.update(extra=torch.zeros(2))),
    "extra layer": weights(lambda tensors: tensors.update({"transformer.h.7.ln_1.weight": torch.ones(32)})),
    "misshapen": replaced(QKV, lambda t: t[:, :-1]),
    "no dimensions": replaced(QKV, lambda t: torch.tensor(1.0)),
    "empty": replaced(WTE, lambda t: t[:0]),
    "NaN": replaced(WTE, lambda t: torch.full_like(t, torch.nan)),
    "one NaN": replaced(
        "transformer.ln_f.bias", lambda t: t.clone().index_fill_(0, torch.tensor(0), torch.nan)
    ),
    "infinite": replaced(WTE, lambda t: torch.full_like(t, torch.inf)),
    "complex": replaced(WTE, lambda t: t.to(torch.complex64)),
    "no tensors": weights(lambda tensors: tensors.clear()),
    "truncated": write("model.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{"),
    "huge header": write("model.safetensors", b"\xff" * 16),
    "few rows": weights(lambda tensors: tensors.__setitem__(WTE, tensors[WTE][:100])),
}
TOKENIZERS = {
    "a space is a megabyte": edit("tokenizer.json", normalizer=replace_step(" ", "x" * 10**6)),
    "nested growth": edit(
        "tokenizer.json",
        normalizer={
            "type": "Sequence",
            "normalizers": [replace_step("x", "xx"), replace_step("t", "x")] * 40,
        },
    ),
    "prepended megabytes": edit("tokenizer.json", normalizer={"type": "Prepend", "prepend": "x" * 10**6}),
    "bytes of bytes": edit(
        "tokenizer.json",
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
            ]
            * 50,
        },
    ),
    "decoded megabytes": edit(
        "tokenizer.json",
        decoder={"type": "Sequence", "decoders": [replace_step("t", "x" * 10**6), {"type": "Fuse"}]},
    ),
    "unknown decoder": edit("tokenizer.json", decoder={"type": "BPEDecoder", "suffix": "x"}),
    "3,000 deep": write("tokenizer.json", lambda: '{"normalizer": ' + '{"a":' * 3000 + "1" + "}" * 3001),
    "too large": write("tokenizer.json", lambda: " " * (2**26 + 1)),
    "no model": write("tokenizer.json", "{}"),
    "no vocabulary": edit("tokenizer.json", model={"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}),
    "impossible pattern": edit(
        "tokenizer.json",
        pre_tokenizer={
            "type": "Split",
            "pattern": {"Regex": "(a+)+$("},
            "behavior": "Isolated",
            "invert": False,
        },
    ),
    "id beyond the network": edit(
        "tokenizer_config.json", added_tokens_decoder={str(10**9): {"content": "x"}}
    ),
    "added tokens malformed": edit("tokenizer_config.json", added_tokens_decoder=["x" * 10**6]),
    "begins with 1e9": edit("generation_config.json", bos_token_id=10**9),
    "tokenizer_config.json is deep": write("tokenizer_config.json", "[" * 3000),
}
TEMPLATES = {
    "lipsum": template("{{ lipsum(n=10**6) }}"),
    "center": template("{{ 'x' | center(10**10) }}"),
    "centred method": template("{{ 'x'.center(10**10) }}"),
    "product": template("{{ 'x' * 10**10 }}"),
    "power": template("{{ 10 ** 10 ** 10 }}"),
    "squares": template(
        "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}"
    ),
    "1e9 numbers": template("{{ range(10**9) | list }}"),
    "nested loops": template("{% for a in range(99999) %}" * 4 + "x" + "{% endfor %}" * 4),
    "silent loops": template(
        "{% set r = range(99999) | list %}" + "{% for a in r %}" * 4 + "{% set x = a %}" + "{% endfor %}" * 4
    ),
    "20 MB": template(lambda: "x" * 20_000_000),
    "20 MB of code": template(lambda: "{{ 1 }}" * 3_000_000),
    "256 kB of code": template(lambda: "{{ a.b }}" * 29_000),
    "deep expression": template(lambda: "{{ " + "(" * 20_000 + "1" + ")" * 20_000 + " }}"),
    "doubled": template(DOUBLE + "ns.x ~ ns.x %}{% endfor %}{{ ns.x }}"),
    "added": template(DOUBLE + "ns.x + ns.x %}{% endfor %}{{ ns.x }}"),
    "replaced": template(DOUBLE + "ns.x | replace('x', 'xxx') %}{% endfor %}"),
    "replaced method": template(DOUBLE + "ns.x.replace('', ns.x) %}{% endfor %}"),
    "joined": template(DOUBLE + "[ns.x, ns.x, ns.x] | join(ns.x) %}{% endfor %}"),
    "joined method": template(DOUBLE + "ns.x.join([ns.x, ns.x]) %}{% endfor %}"),
    "formatted": template("{{ '%1000000000d' % 1 }}"),
    "formatted method": template("{{ '{:>1000000000}'.format(1) }}"),
    "formatted argument": template("{{ '{:>{}}'.format(1, 10**9) }}"),
    "format filter": template("{{ '%*d' | format(10**9, 1) }}"),
    "indented": template("{{ messages | tojson(indent=10**9) }}"),
    "translated": template("{{ ('x' * 10**6).translate({120: 'x' * 10**6}) }}"),
    "batches": template("{{ [1] | batch(10**9, 'x') | list }}"),
    "captured": template(
        "{% set y %}{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}{% endset %}{{ y }}"
    ),
    "sliced": template(
        "{% set x = 'x' * 1000000 %}{% set y %}{% for a in range(99999) %}{{ x[a:] }}{% endfor %}{% endset %}"
    ),
    "mapped": template("{{ range(99999) | map(attribute='x', default='x' * 1000000) | join }}"),
    "mapped method": template("{{ ''.join(range(99999) | map(attribute='x', default='x' * 1000000)) }}"),
    "replaced by keyword": template("{{ ('x' * 10000) | replace(new='x' * 1000000, old='x') }}"),
    "lists of lists": template(
        "{% set ns = namespace(x=['x']) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
        "{{ ns.x }}"
    ),
    "lists of lists as text": template(
        "{% set ns = namespace(x=['x']) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
        "{{ ns.x | string | length }}{{ '' ~ ns }}"
    ),
    "recursion": template("{% macro f(x) %}{{ f(x ~ x) }}{{ f(x) }}{% endmacro %}{{ f('x') }}"),
    "two recursions": template(
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(99) }}"
    ),
    "refuses at length": template("{{ raise_exception('x' * 1000000) }}"),
    "no Unicode": write("chat_template.jinja", b"\xff\xfe"),
}


@pytest.fixture
def folder(gpt2_folder: Path, tmp_path: Path) -> Path:
    """A small model with a chat template, to be changed."""
    shutil.copytree(gpt2_folder, tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").write_text("{{ messages[0].content }}")
    return tmp_path / "model"


def test_the_unchanged_model_works(folder):
    _use(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(change, id=f"{kind}: {name}")
        for kind, cases in (
            ("config", CONFIGS),
            ("weights", WEIGHTS),
            ("tokenizer", TOKENIZERS),
            ("template", TEMPLATES),
        )
        for name, change in cases.items()
    ],
)
def test_a_hostile_file_ends_in_two_lines(folder, change):
    change(folder)
    before, start = _peak(), time.process_time()

    with pytest.raises(ZooError) as caught:
        _use(folder)

    assert time.process_time() - start < SECONDS
    assert _peak() - before < BYTES
    text = str(caught.value)
    assert text.count("\n") == 1
    assert len(text) < 1000, text[:2000]
    assert text.replace("\n", "").isprintable()
    for blame in ("zoo_create_generator", "went wrong", "failed while"):
        assert blame not in text, text


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (CONFIGS["1e9 layers"], "n_layer"),
        (CONFIGS["999 layers"], "n_layer"),
        (CONFIGS["wide"], "n_embd"),
        (CONFIGS["huge vocabulary"], "vocab_size"),
        (CONFIGS["huge MLP"], "n_inner"),
        (CONFIGS["1e18 positions"], "n_positions"),
        (CONFIGS["1e8 patterns"], "attention_types"),
        (CONFIGS["llama's negative head_dim"], "head_dim"),
        (TOKENIZERS["nested growth"], "normalizer"),
        (TOKENIZERS["bytes of bytes"], "pre_tokenizer"),
    ],
)
def test_a_refusal_names_the_key(folder, change, key):
    change(folder)
    with pytest.raises(ZooError, match=key):
        _use(folder)


def _use(folder: Path) -> None:
    """Load, write, score and chat."""
    model = zoo.load(folder, device="cpu", dtype="float32")
    list(model.generate("the cat", max_tokens=3))
    model.generator.log_likelihood(["the cat"])
    list(model.generate("the cat", max_tokens=3, chat=True))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
