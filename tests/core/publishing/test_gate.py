"""Nothing is published that a certificate does not vouch for, and nothing that it vouched for as it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.publishing.gate import check_certificate
from core.stages.context import StageError


def rewrite(folder: Path, change: Callable[[Any], None]) -> None:
    path = folder / "certificate.json"
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def fail(document: Any) -> None:
    document["passed"] = False
    document["checks"][0] |= {"passed": False, "measured": 0.25, "detail": "in the prompt of 7 tokens"}


def test_a_sound_export_is_let_through(stage: Any) -> None:
    stage.certify()
    assert [check.name for check in check_certificate(stage.inputs["hf-base"]).checks] == ["logits"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "certificate.json").unlink(), r"certificate\.json: not there.*export it again"),
        (lambda folder: (folder / "certificate.json").write_text("{}"), "is no certificate"),
        (lambda folder: rewrite(folder, fail), r"check logits: 0\.25 largest .* at most 0\.001, .* prompt of 7 tokens"),
        (lambda folder: rewrite(folder, lambda document: document.update(checks=[])), "certifies nothing"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"other weights"),
            r"model\.safetensors: is not the file that certificate\.json is about \(sha256 \w{12}, certified \w{12}\)",
        ),
        (lambda folder: (folder / "config.json").write_text('{"use_rope": true}'), r"config\.json: is not the file"),
        (lambda folder: (folder / "config.json").unlink(), r"config\.json: .* \(sha256 none, certified"),
        (lambda folder: (folder / "model-00002.safetensors").touch(), r"model-00002\.safetensors: .* certified none"),
    ],
    ids=["none", "not one", "failed", "of nothing", "other weights", "other settings", "file gone", "file added"],
)
def test_an_export_without_a_sound_certificate_is_not_published(
    stage: Any, tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    stage.certify()
    stage.vouched = False
    damage(stage.inputs["hf-sft"])
    with pytest.raises(StageError, match=reason):
        stage.run(url=(tmp_path / "hub").as_uri())
    assert not (tmp_path / "hub").exists()
