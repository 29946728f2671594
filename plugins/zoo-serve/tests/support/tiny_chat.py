"""A language model with a chat template and random weights."""

from __future__ import annotations

import json
from pathlib import Path

import zoo_core

TEXTS = ('the cat sits on the mat {"name": "cat", "age": 3} and the dog is 12 years old. ' * 40,)
TEMPLATE = (
    "{% if tools %}tools: {{ tools | tojson }}\n{% endif %}"
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
)


def write_tiny_chat(folder: Path) -> Path:
    """Write the model's folder."""
    options = {"context": 512, "layers": 1, "width": 32, "heads": 2, "vocab": 300}
    data = zoo_core.TrainingData(shape=(), count=1, texts=TEXTS)
    trainable = zoo_core.create_trainable(zoo_core.trainers()["gpt"], options, data)
    trainable.save(folder, trainable.networks)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": TEMPLATE}))
    return folder
