"""No secret gets into an error or a manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from artifacts.address import Address
from artifacts.errors import StoreError
from artifacts.lease import HeldLease
from artifacts.redaction import redact
from artifacts.store import Store

SECRET = "sesame-open-example"


@pytest.mark.parametrize(
    "text",
    [
        f"https://user:{SECRET}@host/path failed",
        f"GET /x?X-Amz-Signature={SECRET}&X-Amz-Date=2026",
        f"aws_secret_access_key={SECRET}, region=x",
        f"{{'aws_session_token': '{SECRET}'}}",
        f'"password": "{SECRET}"',
    ],
)
def test_what_looks_like_a_credential_is_hidden_and_the_rest_is_kept(text: str) -> None:
    hidden = redact(text)
    assert SECRET not in hidden
    assert "***" in hidden


def test_values_of_secret_variables_are_hidden_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", SECRET)
    assert redact(f"the server said: {SECRET} is wrong") == "the server said: *** is wrong"


@pytest.mark.parametrize(
    "text", ["token 3 of pack/docs-0123", "the lease (token 2) was taken over", "special_tokens: 9", "file:///a/b@c"]
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_every_store_error_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert str(StoreError(f"first {SECRET}\n  second")) == "first *** second"


def test_a_manifest_holds_no_secret(
    folder_store: Store,
    address: Address,
    hold: Callable[..., HeldLease],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    with folder_store.attempt(address, hold(folder_store, address)) as attempt:
        (attempt.output / "file").write_bytes(b"x")
        attempt.commit(
            stage_version=1,
            identity={},
            inputs={},
            metrics={"source": f"https://me:{SECRET}@host/data"},
            provenance={"remote": [{"used": SECRET}]},
        )
    assert SECRET not in (tmp_path / "store" / address.folder / "manifest.json").read_text()
