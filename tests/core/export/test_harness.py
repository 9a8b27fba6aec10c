"""lm-evaluation-harness on an export, where the extra is installed; one line where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from running import ROOT

from core.data.tokenizer import Tokenizer
from core.evaluation.harness import HarnessError, Suite, run_harness
from core.model.checkpoint import ModelState, load_model

QUESTIONS = [
    {"query": "The quick brown", "choices": ["fox", "dog", "riddle"], "gold": 0},
    {"query": "return", "choices": ["argument", "the lazy square"], "gold": 1},
    {"query": "naïve", "choices": ["café", "Straße"], "gold": 0},
    {"query": "it's a riddle", "choices": ["we've", "heard", "before"], "gold": 2},
]
DEFINITION = """
task: toy
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query}}}}"
doc_to_choice: choices
doc_to_target: gold
metadata: {{version: 3}}
"""
PROGRAM = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from core.evaluation.harness import Suite, run_harness
json.dump(asdict(run_harness(Path(sys.argv[1]), Suite(tasks=("toy",), include=Path(sys.argv[2])))), sys.stdout)
"""


def test_without_the_extra_one_line_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    with pytest.raises(HarnessError, match=r"pip install 'miniseries\[harness\]'"):
        run_harness(tmp_path, Suite(tasks=("arc_easy",)))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="the extra `harness` is not installed")
def test_the_harness_counts_what_the_softmax_says(
    export: Callable[..., Any], base_state: ModelState, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    made = export("core.export.huggingface", base_state)
    data = tmp_path / "toy.jsonl"
    data.write_text("".join(json.dumps(question) + "\n" for question in QUESTIONS), encoding="utf-8")
    (tmp_path / "toy.yaml").write_text(DEFINITION.format(data=data), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(made.folder), str(tmp_path)],
        env={**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    model = load_model(made.model, "cpu", torch.float32)
    right = sum(likeliest(model, tokenizer, question) == question["gold"] for question in QUESTIONS)
    metrics = {one["metric"]: one["result"] for one in result["metrics"]}
    assert metrics["acc"]["value"] == right / len(QUESTIONS)
    assert metrics["acc"]["sample_size"] == len(QUESTIONS)
    low, high = metrics["acc"]["interval"]
    assert 0 <= low < metrics["acc"]["value"] + 1e-9 <= high + 1e-9 <= 1 + 1e-9
    assert result["tasks"]["toy"]["version"] == 3
    assert result["tasks"]["toy"]["asked"] == len(QUESTIONS)


@torch.inference_mode()
def likeliest(model: Any, tokenizer: Tokenizer, question: dict[str, Any]) -> int:
    """The choice with the largest sum of log p, as the harness decides."""
    sums = []
    for choice in question["choices"]:
        start = 1 + len(tokenizer.encode(question["query"]))
        tokens = [tokenizer.bos, *tokenizer.encode(f"{question['query']} {choice}")]
        p = model(torch.tensor([tokens]))[0].double().log_softmax(-1)
        sums.append(sum(float(p[place - 1, tokens[place]]) for place in range(start, len(tokens))))
    return sums.index(max(sums))
