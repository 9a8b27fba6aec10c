"""Which store a URL, a path or the environment means."""

from __future__ import annotations

from pathlib import Path

import pytest

from artifacts.errors import StoreError
from artifacts.location import cache_folder, store_location
from artifacts.store import Store


def test_a_path_and_its_file_url_are_the_same_store(tmp_path: Path) -> None:
    folder = tmp_path / "my store"
    assert store_location(str(folder)) == store_location(folder.as_uri())
    assert store_location(folder.as_uri() + "/").folder == folder
    assert Store.open(str(folder), tmp_path).url == folder.as_uri()


def test_a_relative_path_is_taken_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_location("runs/../store").folder == tmp_path / "store"


def test_a_bucket_has_a_prefix_or_none() -> None:
    location = store_location("s3://bucket/some/prefix/")
    assert (location.url, location.bucket, location.prefix) == ("s3://bucket/some/prefix", "bucket", "some/prefix")
    assert store_location("s3://bucket").prefix == ""


def test_the_environment_names_store_and_cache_and_there_are_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert store_location().folder == tmp_path / "data" / "miniseries" / "store"
    assert cache_folder() == tmp_path / "caches" / "miniseries"
    monkeypatch.setenv("MINISERIES_STORE", "s3://bucket/p")
    monkeypatch.setenv("MINISERIES_CACHE", str(tmp_path / "cache"))
    assert store_location().url == "s3://bucket/p"
    assert cache_folder() == tmp_path / "cache"


def test_the_same_bucket_at_another_endpoint_has_another_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    here = store_location("s3://bucket/p").identifier
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere:9000")
    assert store_location("s3://bucket/p").identifier != here


@pytest.mark.parametrize("url", ["gs://bucket/x", "http://host/x", "file://host/x", "s3:///x", "s3:bucket"])
def test_other_urls_are_refused_with_what_would_do(url: str) -> None:
    with pytest.raises(StoreError, match="use a folder"):
        store_location(url)


@pytest.mark.parametrize("url", ["s3://AKEXAMPLE:sesame-open@bucket/x", "s3://bucket/x?secret=sesame-open"])
def test_credentials_in_a_url_are_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(StoreError, match="AWS_ACCESS_KEY_ID") as caught:
        store_location(url)
    assert "sesame" not in str(caught.value)


def test_opening_touches_neither_disk_nor_network(tmp_path: Path) -> None:
    Store.open(str(tmp_path / "store"), tmp_path / "cache")
    Store.open("s3://no-such-bucket-anywhere/x", tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []
