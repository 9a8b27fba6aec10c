"""The address of a cluster: two kinds of scheduler, and nothing that looks like one of them."""

from __future__ import annotations

import pytest

from tasks.pack_cluster import PackCluster


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        ("dask://host:8786", "dask", "tcp://host:8786"),
        ("tcp://10.0.0.1:8786/", "dask", "tcp://10.0.0.1:8786"),
        ("tls://host:8786", "dask", "tls://host:8786"),
        ("tcp://[::1]:8786", "dask", "tcp://[::1]:8786"),
        ("ray://host:10001", "ray", "ray://host:10001"),
    ],
)
def test_each_form_becomes_what_its_client_takes(text: str, kind: str, address: str) -> None:
    cluster = PackCluster.parse(text)
    assert (cluster.kind, cluster.address) == (kind, address)


@pytest.mark.parametrize(
    "text", ["host:8786", "dask://host", "dask://:8786", "http://host:1", "dask://a:b@host:1", "ray://host:many", "ray"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"scheduler|[Pp]ort"):
        PackCluster.parse(text)
