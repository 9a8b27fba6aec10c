"""The real server in a thread of this process, on a port of its own, and what its metrics say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from openai import OpenAI
from prometheus_client.parser import text_string_to_metric_families
from running import wait_until

from core.chat.text_model import TextModel
from core.serving.guard import Access
from core.serving.limits import Limits
from core.serving.server import access_for, listen, make_server
from core.serving.service import Service

KEY = "a-secret-of-the-tests"


@dataclass(frozen=True)
class Running:
    """A server that answers at `url`."""

    url: str
    key: str | None
    stop: Callable[[], None]  # asks it to stop and returns

    @property
    def openai(self) -> OpenAI:
        """The real client, which does not try again."""
        return OpenAI(base_url=f"{self.url}/v1", api_key=self.key or "none", max_retries=0, timeout=60)

    @property
    def http(self) -> httpx.Client:
        """For requests that the real client would not make."""
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def metric(self, name: str, **labels: str) -> float:
        """The sum over all samples of `name` with these labels, as of now."""
        with self.http as client:
            families = text_string_to_metric_families(client.get("/metrics").text)
            samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def wait_until_idle(self) -> None:
        """Wait until no slot is taken and nobody is in line."""
        wait_until(lambda: self.metric("miniseries_answers_active") == self.metric("miniseries_answers_waiting") == 0)


@contextmanager
def serving(
    models: Sequence[TextModel], limits: Limits | None = None, access: Access | None = None
) -> Iterator[Running]:
    """A server of `models` while the block runs."""
    access = access or access_for("127.0.0.1", None, allow_no_key=False)
    listening = listen("127.0.0.1", 0)
    server = make_server(Service(models, limits or Limits()), access)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()

    def stop() -> None:
        server.should_exit = True

    try:
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", access.key, stop)
    finally:
        stop()
        thread.join()
