"""`miniseries serve` as a process: fifty clients of which half hang up, memory, signals, and what it refuses to do."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import openai
import psutil
import pytest
from reciting import alphabet, reciting_store
from running import Miniseries
from serving import KEY, Running

from flows.command_line import app, guarded

CLIENTS = 50
TOKENS = 100
GROWTH = 64 << 20  # bytes that a warm server may take for good, whatever passes through it


@pytest.fixture(scope="module")
def miniseries(tmp_path_factory: pytest.TempPathFactory) -> Miniseries:
    """The command line against a store of models that say the alphabet."""
    home = tmp_path_factory.mktemp("serve")
    return Miniseries(home, reciting_store(home))


@contextmanager
def started(
    miniseries: Miniseries, *arguments: str, **environment: str
) -> Iterator[tuple[Running, subprocess.Popen[str]]]:
    """A server process while the block runs; stopped by SIGTERM, upon which it must exit with 0."""
    process = miniseries.start("serve", *arguments, "--port", "0", **environment)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://[^/]+", line)
        assert found is not None, line + process.stderr.read()
        url = found[0].replace("0.0.0.0", "127.0.0.1")
        yield Running(url, environment.get("MINISERIES_API_KEY"), process.terminate), process
        process.terminate()
        assert process.wait() == 0
    finally:
        process.kill()
        process.communicate()


def test_fifty_clients_of_which_half_hang_up(miniseries: Miniseries) -> None:
    with started(miniseries, "tiny") as (server, process):
        talk(server)
        memory = psutil.Process(process.pid)
        before = memory.memory_info().rss
        for _ in range(3):
            talk(server)
        assert memory.memory_info().rss - before < GROWTH
        ended = {
            reason: server.metric("miniseries_answers_total", reason=reason)
            for reason in ("length", "hung up", "failed")
        }
        assert ended == {"length": 4 * CLIENTS / 2, "hung up": 4 * CLIENTS / 2, "failed": 0}


def talk(server: Running) -> None:
    """Fifty at once: every other one hangs up, some of them in line; the others must get every letter."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        texts = list(pool.map(lambda number: listen(server, number), range(CLIENTS)))
    assert texts[::2] == [alphabet(TOKENS)] * (CLIENTS // 2)
    server.wait_until_idle()


def listen(server: Running, number: int) -> str:
    """What client `number` heard; odd ones hang up after a few letters."""
    client = server.openai.with_options(timeout=120)
    messages = [{"role": "user", "content": f"I am client {number}."}]
    with client.chat.completions.create(
        model="tiny", messages=messages, max_tokens=TOKENS if number % 2 == 0 else 2000, temperature=0, stream=True
    ) as stream:
        heard = ""
        for chunk in stream:
            heard += chunk.choices[0].delta.content or ""
            if number % 2 and len(heard) > number:
                break
    return heard


def test_it_serves_several_models_in_both_directions_to_who_has_the_key(miniseries: Miniseries) -> None:
    tags = ["tiny-bidirectional", "tiny", "tiny_bidirectional"]
    with started(miniseries, *tags, "--host", "0.0.0.0", MINISERIES_API_KEY=KEY) as (server, _):
        assert httpx.get(f"{server.url}/v1/models", trust_env=False).status_code == 401
        assert [model.id for model in server.openai.models.list()] == ["tiny_bidirectional", "tiny"]
        asked = {"model": "tiny_bidirectional", "prompt": "xyz", "max_tokens": 3, "temperature": 0}
        assert server.openai.completions.create(**asked).choices[0].text == "abc"
        backward = server.openai.completions.create(**asked, extra_body={"direction": "backward"})
        assert backward.choices[0].text == "azy"


def test_ctrl_c_lets_answers_end(miniseries: Miniseries) -> None:
    with started(miniseries, "tiny", "--grace-seconds", "60") as (server, process):
        messages = [{"role": "user", "content": "x"}]
        stream = server.openai.chat.completions.create(
            model="tiny", messages=messages, max_tokens=400, temperature=0, stream=True
        )
        heard = next(stream).choices[0].delta.content or ""
        process.send_signal(signal.SIGINT)
        heard += "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert heard == alphabet(400)
        assert process.wait() == 0
        with pytest.raises(openai.APIConnectionError):
            server.openai.models.list()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tiny_long"], "tiny_long is not in store .*: run `miniseries run tiny_long`"),
        (["tinny"], "no recipe is called 'tinny': did you mean tiny"),
        (["tiny", "--host", "0.0.0.0"], "0.0.0.0 can be reached by others: set MINISERIES_API_KEY"),
        (["tiny_bidirectional", "--phase", "sft"], "is a base model without a fine-tune"),
    ],
    ids=["not-made", "unknown", "open-to-all", "no-fine-tune"],
)
def test_what_cannot_be_served_is_one_line(
    miniseries: Miniseries,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.setenv("MINISERIES_STORE", miniseries.store)
    monkeypatch.delenv("MINISERIES_API_KEY", raising=False)
    assert guarded(lambda: app(["serve", *arguments, "--port", "0"], standalone_mode=False)) == 1
    assert re.fullmatch(f"miniseries: .*{said}.*\n", capsys.readouterr().err)
