"""`miniseries serve`: models behind an OpenAI-compatible API and a web page."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from core.chat.artifact import Phase, chosen_model
from core.chat.text_model import TextModel
from core.serving.limits import Limits
from core.serving.server import access_for, listen, run_server
from core.serving.service import Service
from tasks.settings import settings_from_environment

KEY_VARIABLE = "MINISERIES_API_KEY"


def serve(
    tags: Sequence[str], phase: Phase | None, *, host: str, port: int, allow_no_key: bool, limits: Limits
) -> None:
    """Serve the models of `tags` until SIGTERM or Ctrl-C. Raises `StoreError` for what cannot be served."""
    access = access_for(host, os.environ.get(KEY_VARIABLE) or None, allow_no_key=allow_no_key)
    store = settings_from_environment().open_store()
    chosen = [chosen_model(tag, phase, store) for tag in dict.fromkeys(tags)]
    with listen(host, port) as listening:
        models = [TextModel(stages.tag, stages.load(store)) for stages in chosen]
        names = ", ".join(model.name for model in models)
        print(f"{names}: {_url(host, listening.getsockname()[1])} (API: /v1)", file=sys.stderr, flush=True)
        run_server(Service(models, limits), access, listening)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
