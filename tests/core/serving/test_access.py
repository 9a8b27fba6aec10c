"""Who may ask: names of this machine without a key, anybody who has it with one, and what responses forbid browsers."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

import httpx
import openai
import pytest
from serving import KEY, Running, serving

from core.chat.text_model import TextModel
from core.serving.guard import host_name
from core.serving.server import ServeError, access_for, is_loopback, listen


@pytest.fixture(scope="module")
def locked(models: dict[str, TextModel]) -> Iterator[Running]:
    """A server that needs its key."""
    with serving([models["coffee"]], access=access_for("127.0.0.1", KEY, allow_no_key=False)) as running:
        yield running


def test_with_the_key_everything_works(locked: Running) -> None:
    messages = [{"role": "user", "content": "x"}]
    answer = locked.openai.chat.completions.create(model="coffee", messages=messages, temperature=0)
    assert answer.choices[0].message.content == "café☕"


@pytest.mark.parametrize(
    "key", ["wrong", KEY[:-1], KEY + "x", "naïve"], ids=["other", "shorter", "longer", "not-ascii"]
)
def test_with_another_key_nothing_works(locked: Running, key: str) -> None:
    with httpx.Client(base_url=locked.url, trust_env=False) as client:
        for path in ("/v1/models", "/metrics", "/nowhere"):
            response = client.get(path, headers={"Authorization": f"Bearer {key}".encode()})
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"


def test_the_real_client_says_what_is_wrong_with_its_key(locked: Running) -> None:
    with pytest.raises(openai.AuthenticationError, match="needs its API key"):
        openai.OpenAI(base_url=f"{locked.url}/v1", api_key="no", max_retries=0).models.list()


def test_the_page_and_health_need_no_key(locked: Running) -> None:
    with httpx.Client(base_url=locked.url, trust_env=False) as client:
        assert client.get("/").status_code == 200
        assert client.get("/health").json() == {"status": "ok"}


def test_without_a_key_a_foreign_name_is_refused(server: Running) -> None:
    with server.http as client:
        for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80"):
            assert client.get("/v1/models", headers={"Host": host}).status_code == 403
        for host in ("localhost:1", "127.0.0.1", "[::1]:8000", "LOCALHOST"):
            assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_no_other_site_may_read_answers_or_frame_the_page(server: Running) -> None:
    with server.http as client:
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        assert "access-control-allow-origin" not in client.options("/v1/completions", headers=asked).headers
        page = client.get("/", headers=asked)
    assert "access-control-allow-origin" not in page.headers
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]


def test_the_page_may_load_nothing_but_itself(server: Running) -> None:
    with server.http as client:
        page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://|\son\w+=|\sstyle=", page.text)
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu-box"])
def test_an_address_that_others_reach_needs_a_key_or_a_word(host: str) -> None:
    with pytest.raises(ServeError, match="set MINISERIES_API_KEY"):
        access_for(host, None, allow_no_key=False)
    assert access_for(host, None, allow_no_key=True).key is None
    assert access_for(host, KEY, allow_no_key=False).key == KEY


def test_loopback_addresses_are_known() -> None:
    assert [host for host in ("127.0.0.1", "127.8.8.8", "::1", "localhost", "0.0.0.0", "x") if is_loopback(host)] == [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "localhost",
    ]
    assert [host_name(host) for host in ("a:1", "[::1]:2", "B", "")] == ["a", "::1", "b", ""]


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"cannot listen on 127.0.0.1 port {port}: Address already in use"):
            listen("127.0.0.1", port)
