"""The command llm works against the server with the configuration of docs/serving.md."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


def test_llm_uses_the_server_as_the_documentation_says(server, tmp_path):
    llm = pytest.importorskip("llm.cli")
    (block,) = re.findall(r"```yaml\n(- model_id: .*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    chat = f"- {{model_id: zoo-words, model_name: words, api_base: {server.url}/v1}}\n"
    (tmp_path / "extra-openai-models.yaml").write_text(
        block.replace("http://127.0.0.1:8484", server.url) + chat
    )

    def ask(model: str, *words: str) -> str:
        done = CliRunner(env={"LLM_USER_PATH": str(tmp_path)}).invoke(
            llm.cli, ["-m", model, "In the beginning", *words]
        )
        assert done.exit_code == 0, done.output
        return done.output.rstrip("\n")

    asked = {"prompt": "In the beginning", "seed": 7, "max_tokens": 8, "temperature": 0.5}
    options = ("-o", "seed", "7", "-o", "max_tokens", "8", "-o", "temperature", "0.5")
    made = server.http.post("/v1/completions", json={"model": "gpt-kjv"} | asked)
    assert ask("zoo-kjv", *options) == made.json()["choices"][0]["text"].rstrip("\n")
    assert re.fullmatch("[a-z]{5}", ask("zoo-words", "--no-stream"))
