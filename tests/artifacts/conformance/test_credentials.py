"""A server that checks signatures turns wrong credentials away, in one line and without showing them."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest

from artifacts.errors import StoreUnavailable
from artifacts.store import Store


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong-secret-example", "secret key is wrong"),
        ("AWS_ACCESS_KEY_ID", "AKUNKNOWNEXAMPLE", "access key is unknown"),
    ],
)
def test_wrong_credentials_are_one_line_that_does_not_show_them(
    rados_gateway: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, said: str
) -> None:
    for variable, setting in {**rados_gateway.environment(), name: value}.items():
        monkeypatch.setenv(variable, setting)
    with pytest.raises(StoreUnavailable, match=said) as caught:
        Store.open(f"s3://miniseries/{uuid.uuid4().hex}", tmp_path).check_writable()
    assert "\n" not in str(caught.value)
    assert value not in str(caught.value)
