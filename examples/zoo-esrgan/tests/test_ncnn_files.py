"""ncnn's files of small networks: what is read is what was written, and ncnn computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from zoo_esrgan.generator import ESRGAN
from zoo_esrgan.ncnn_files import convert
from zoo_esrgan.network import Compact, CompactNetwork, Dense, DenseNetwork

from zoo_core import Batch, Checkpoint, InputImage, Noise, Options, WeightsError, save_checkpoint


def half(network: torch.nn.Module) -> torch.nn.Module:
    """Give the kernels values that float16 has."""
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    return network


def written(folder: Path, modules: list[torch.nn.Module], lines: list[str]) -> Path:
    """Write modules in order as ncnn does; each ``{}`` of a line of a convolution gets its settings."""
    data, settings = b"", []
    for module in modules:
        if isinstance(module, torch.nn.Conv2d):
            kernel = module.weight.detach().numpy().astype("<f2")
            settings.append(f"0={module.out_channels} 1=3 4=1 5=1 6={kernel.size}")
            data += b"\x47\x6b\x30\x01" + kernel.tobytes() + bytes(-2 * kernel.size % 4)
            data += module.bias.detach().numpy().astype("<f4").tobytes()
        else:
            settings.append(f"0={module.weight.numel()}")
            data += module.weight.detach().numpy().astype("<f4").tobytes()
    text = "\n".join(lines).format(*settings)
    blobs = 1 + sum(int(line.split()[3]) for line in lines)
    (folder / "net.param").write_text(f"7767517\n{len(lines)} {blobs}\n{text}\n")
    (folder / "net.bin").write_bytes(data)
    return folder / "net.param"


@pytest.fixture
def compact(tmp_path: Path) -> tuple[Path, CompactNetwork]:
    torch.manual_seed(0)
    network = half(CompactNetwork(Compact(layers=2, width=5)))
    modules: list[torch.nn.Module] = []
    lines = ["Input in 0 1 data", "Split s 1 2 data a0 image"]
    for i, (layer, activation) in enumerate(zip(network.convs, network.activations, strict=True)):
        modules += [layer, activation]
        lines += [f"Convolution c{i} 1 1 a{i} b{i} {{}}", f"PReLU p{i} 1 1 b{i} a{i + 1} {{}}"]
    lines += ["Convolution last 1 1 a3 b3 {}", "PixelShuffle p 1 1 b3 up 0=4"]
    lines += ["Interp r 1 1 image large 0=1 1=4.0 2=4.0", "BinaryOp add 2 1 up large output"]
    return written(tmp_path, [*modules, network.last], lines), network


def test_ncnn_computes_the_same(compact):
    ncnn = pytest.importorskip("ncnn")
    path, network = compact
    image = np.random.default_rng(0).random((3, 9, 7), np.float32)
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    assert net.load_param(str(path)) == net.load_model(str(path.with_suffix(".bin"))) == 0
    extractor = net.create_extractor()
    extractor.input("data", ncnn.Mat(image).clone())
    theirs = torch.from_numpy(np.array(extractor.extract("output")[1]))
    with torch.inference_mode():
        torch.testing.assert_close(network(torch.from_numpy(image)[None])[0], theirs, atol=1e-5, rtol=0)


def test_a_compact_network_is_read_and_upscales(compact, tmp_path):
    path, network = compact
    conversion = convert(path)
    assert conversion is not None
    assert conversion.config == {"model_type": "real-esrgan", "network": "compact", "layers": 2, "width": 5}
    assert {name: t.float().tolist() for name, t in conversion.tensors.items()} == {
        name: t.tolist() for name, t in network.state_dict().items()
    }
    save_checkpoint(tmp_path / "model", conversion.config, conversion.tensors)
    files = {name: tmp_path / "model" / name for name in ("config.json", "model.safetensors")}
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)
    image = InputImage(Image.fromarray(pixels))
    upscaler = ESRGAN(Checkpoint("test", files, ""), torch.device("cpu"))
    results = []
    for tile in (0, 8):
        options = Options(tile=tile)
        with torch.inference_mode():
            *_, last = upscaler.edit(Batch(Noise([0, 1]), options, (None, None)), image)
        results.append(last.images)
    assert results[0].shape == (2, 3, 84, 136)
    torch.testing.assert_close(*results, atol=1e-5, rtol=0)  # tiles give the whole


def test_the_large_network_is_read(tmp_path):
    torch.manual_seed(0)
    network = half(DenseNetwork(Dense(blocks=2, width=6, growth=4)))
    modules = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    path = written(tmp_path, modules, ["Convolution c 1 1 a b {}"] * len(modules))
    conversion = convert(path)
    assert conversion is not None
    assert conversion.config == {
        "model_type": "real-esrgan", "network": "dense", "blocks": 2, "width": 6, "growth": 4
    }  # fmt: skip
    assert {name: t.float().tolist() for name, t in conversion.tensors.items()} == {
        name: t.tolist() for name, t in network.state_dict().items()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda param, weights: (param, weights[:-1]), "ends too early"),
        (lambda param, weights: (param, weights + b"1"), "longer than its layers"),
        (lambda param, weights: (param.replace("PReLU", "Softmax"), weights), "another network"),
        (lambda param, weights: (param.replace("6=135", "6=-9"), weights), "another network"),
        (lambda param, weights: (param.replace("6=135", "6=135000000000"), weights), "ends too early"),
        (lambda param, weights: (param, b"1234" + weights[4:]), "no weights in float16"),
    ],
)
def test_damaged_files_are_refused_by_name(compact, change, message):
    path, _ = compact
    param, weights = change(path.read_text(), path.with_suffix(".bin").read_bytes())
    path.write_text(param)
    path.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(WeightsError, match=message):
        convert(path)


def test_files_of_another_kind_are_not_converted(tmp_path):
    (tmp_path / "other.param").write_text("no network")
    assert convert(tmp_path / "other.param") is None
