"""Posting to a webhook whose URL is a secret."""

from __future__ import annotations

import logging

import pytest
from s3_server import free_port
from webhook import SECRET_PATH, receiving_webhook

from artifacts.redaction import redact
from flows.webhook import Webhook, WebhookError, webhook_from_environment
from tasks.settings import SettingsError

QUICKLY = (0.0, 0.0)


def test_a_message_is_delivered_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with receiving_webhook() as there:
        Webhook(there.url).post({"event": "completed"}, QUICKLY)
        assert there.received == [{"event": "completed"}]
    assert SECRET_PATH not in caplog.text


def test_an_answer_that_is_an_error_is_tried_again_and_then_told_without_the_url() -> None:
    with receiving_webhook() as there:
        there.statuses += [503]
        Webhook(there.url).post({"event": "failed"}, QUICKLY)
        assert len(there.received) == 2
        there.statuses += [404, 404]
        with pytest.raises(WebhookError) as raised:
            Webhook(there.url).post({"event": "failed"}, QUICKLY)
    assert str(raised.value) == "the webhook at 127.0.0.1 was not told how the run ended: it answered 404"


def test_a_webhook_that_is_away_is_told_without_the_url() -> None:
    webhook = Webhook(f"http://127.0.0.1:{free_port()}{SECRET_PATH}")
    with pytest.raises(WebhookError) as raised:
        webhook.post({}, QUICKLY)
    assert str(raised.value).endswith("was not told how the run ended: ConnectError")
    assert SECRET_PATH not in repr(webhook)


@pytest.mark.parametrize("url", ["hooks.slack.com/secret", "ftp://host/secret", "https://", "https://[secret", "a b"])
def test_what_is_no_web_address_is_refused_without_quoting_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINISERIES_WEBHOOK", url)
    with pytest.raises(SettingsError) as raised:
        webhook_from_environment()
    assert "MINISERIES_WEBHOOK is no web address" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_none_is_set_by_default_and_what_is_set_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINISERIES_WEBHOOK", raising=False)
    assert webhook_from_environment() is None
    url = f"https://hooks.slack.com{SECRET_PATH}"
    monkeypatch.setenv("MINISERIES_WEBHOOK", url)
    assert webhook_from_environment() == Webhook(url)
    assert redact(f"404 for {url}") == "404 for ***"
