"""Destination `folder` in an S3 bucket: the same layout, the same economy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import botocore.session
import pytest
from moto.server import ThreadedMotoServer


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server on this machine with the bucket `models`; the process is set up to use it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = botocore.session.get_session().create_client("s3")
    client.create_bucket(Bucket="models")
    yield client
    server.stop()


def test_a_bucket_holds_the_same_layout_and_is_written_once(stage: Any, bucket: Any) -> None:
    def stamps() -> dict[str, Any]:
        return {entry["Key"]: entry["LastModified"] for entry in bucket.list_objects_v2(Bucket="models")["Contents"]}

    first = stage.run(url="s3://models/published")
    before = stamps()
    key = "published/lab/nanochat-tiny_drope_50-hf-base/model.safetensors"
    assert len(before) == first.metrics["files"] + 8  # and an index each, and the record of its version
    assert (
        bucket.get_object(Bucket="models", Key=key)["Body"].read()
        == (stage.inputs["hf-base"] / "model.safetensors").read_bytes()
    )
    (stage.inputs["hf-base"] / "config.json").unlink()
    second = stage.run(url="s3://models/published")
    assert (second.metrics["files_written"], second.metrics["files_removed"]) == (1, 1)
    changed = {key for key, stamp in stamps().items() if key in before and stamp != before[key]}
    repository = "published/lab/nanochat-tiny_drope_50-hf-base"
    assert changed <= {f"{repository}/.miniseries.json", f"{repository}/certificate.json"}
    assert stamps().keys() - before.keys() == {f"{repository}/.versions/v2.json"}
    assert before.keys() - stamps().keys() == {"published/lab/nanochat-tiny_drope_50-hf-base/config.json"}
