"""Requests that are no use to anybody: refused with a status and a line, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from serving import Running

CHAT = "/v1/chat/completions"
MEBIBYTE = 1 << 20


@pytest.fixture
def client(server: Running) -> Iterator[httpx.Client]:
    """Without the real client's good manners."""
    with server.http as client:
        yield client


def refusal(response: httpx.Response, status: int) -> dict[str, str]:
    """The error in OpenAI's shape."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert "\n" not in error["message"]
    return error


def post(client: httpx.Client, body: bytes, path: str = CHAT) -> httpx.Response:
    return client.post(path, content=body, headers={"Content-Type": "application/json"})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
        b'{"model": "letters", "messages": "hello"}',
        b'{"model": "letters", "messages": [[]]}',
        b'{"model": "letters", "messages": [{"role": "user", "content": {"type": "text"}}]}',
        b'{"model": "letters", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "letters", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
        b'{"model": "letters", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1e400}',
        b'{"model": "letters", "messages": [{"role": "user", "content": "x"}], "\\ud800": 1}',
        b'{"model": 7, "messages": []}',
    ],
    ids=[
        "empty",
        "cut",
        "list",
        "null",
        "not-utf8",
        "deep-lists",
        "deep-objects",
        "text-for-messages",
        "list-for-a-message",
        "object-for-content",
        "half-a-surrogate-pair",
        "not-a-number",
        "infinite",
        "odd-field",
        "number-for-a-model",
    ],
)
def test_what_is_malformed_is_a_400(client: httpx.Client, body: bytes) -> None:
    assert refusal(post(client, body), 400)["type"] == "invalid_request_error"


def test_half_a_surrogate_pair_is_no_prompt(client: httpx.Client) -> None:
    error = refusal(post(client, b'{"model": "letters", "prompt": "\\udfff"}', "/v1/completions"), 400)
    assert error["param"] == "prompt"


def test_a_huge_body_is_refused_by_its_declared_length(client: httpx.Client) -> None:
    assert "1,048,576 bytes" in refusal(post(client, b"x" * (MEBIBYTE + 1)), 413)["message"]


def test_a_huge_body_is_refused_while_it_arrives(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * (MEBIBYTE // 16)

    response = client.post(CHAT, content=endless(), headers={"Content-Type": "application/json"})
    assert "1,048,576 bytes" in refusal(response, 413)["message"]


def test_the_longest_prompt_that_is_let_in_is_refused_by_its_tokens(client: httpx.Client) -> None:
    body = json.dumps({"model": "letters", "prompt": "a" * (MEBIBYTE - 100)}).encode()
    error = refusal(post(client, body, "/v1/completions"), 400)
    assert error["code"] == "context_length_exceeded"


@pytest.mark.parametrize("character", [" ", "a", "!"], ids=["blanks", "letters", "marks"])
def test_the_longest_message_that_is_let_in_is_refused_by_its_tokens(client: httpx.Client, character: str) -> None:
    messages = [{"role": "user", "content": character * (MEBIBYTE - 100)}]
    error = refusal(post(client, json.dumps({"model": "letters", "messages": messages}).encode()), 400)
    assert error["code"] == "context_length_exceeded"


def test_more_messages_than_the_context_holds_are_refused_unread(client: httpx.Client) -> None:
    messages = [{"role": role, "content": ""} for _ in range(10_000) for role in ("user", "assistant")][:-1]
    error = refusal(post(client, json.dumps({"model": "letters", "messages": messages}).encode()), 400)
    assert error["code"] == "context_length_exceeded"


def test_a_body_that_is_not_declared_as_json_is_not_read(client: httpx.Client) -> None:
    body = b'{"model": "coffee", "messages": [{"role": "user", "content": "x"}]}'
    refusal(client.post(CHAT, content=body, headers={"Content-Type": "text/plain"}), 400)


def test_unknown_paths_and_methods_are_refused_in_the_same_shape(client: httpx.Client) -> None:
    refusal(client.get("/v2/models"), 404)
    refusal(client.get(CHAT), 405)
    refusal(client.get("/docs"), 404)


def test_nothing_is_left_behind(server: Running, client: httpx.Client) -> None:
    before = server.metric("miniseries_answers_total")
    for body in (b"{", b'{"model": "letters", "prompt": "\\udfff"}', b"x" * (MEBIBYTE + 1)):
        post(client, body)
    assert server.metric("miniseries_answers_total") == before
    server.wait_until_idle()
