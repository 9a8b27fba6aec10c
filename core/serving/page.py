"""The web chat page: one file that needs no other, under a policy that lets it load nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from starlette.responses import HTMLResponse

INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def page_response() -> HTMLResponse:
    """The page with its policy."""
    html, policy = _page()
    return HTMLResponse(html, headers={"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})


@cache
def _page() -> tuple[str, str]:
    """The file's text, and a Content-Security-Policy that allows its own style and script by their hashes."""
    html = files("core.serving").joinpath("page.html").read_text(encoding="utf-8")
    hashes = {kind: f"'sha256-{_digest(text)}'" for kind, text in INLINE.findall(html)}
    policy = (
        f"default-src 'none'; style-src {hashes['style']}; script-src {hashes['script']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
