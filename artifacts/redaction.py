"""Secrets never reach an error, a log line or a manifest: what looks like one is replaced by `***`.

Three nets: credentials inside a URL, signature and token parameters of signed requests, and the value of
every environment variable whose name says that it is a secret.
"""

from __future__ import annotations

import os
import re

HIDDEN = "***"
SHORTEST_SECRET = 6  # characters; shorter values ("true", "0") would blank out ordinary words

SECRET_NAME = re.compile(
    r"(ACCESS_KEY|ACCESS_KEY_ID|SECRET|TOKEN|PASSWORD|PASSWD|API_KEY|CREDENTIALS|WEBHOOK)$", re.IGNORECASE
)
USER_INFORMATION = re.compile(r"(?<=://)[^/@\s]+(?=@)")
PARAMETER = re.compile(
    r"(?P<name>\b(?:x-amz-(?:signature|credential|security-token)|aws_?access_?key_?id|aws_secret_access_key"
    r"|aws_session_token|signature|secret|token|password)[\"']?(?:=|:\s*(?=[\"']))[\"']?)[^\s&\"',;)}\]]+",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """Return `text` without anything that looks like a credential."""
    text = USER_INFORMATION.sub(HIDDEN, text)
    text = PARAMETER.sub(rf"\g<name>{HIDDEN}", text)
    for value in _secrets():
        text = text.replace(value, HIDDEN)
    return text


def redacted(value: object) -> object:
    """Return a JSON value with `redact` applied to every string in it, keys excepted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {name: redacted(item) for name, item in value.items()}
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def _secrets() -> list[str]:
    """Values of the environment's secrets, longest first so that none is left half replaced."""
    found = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)
