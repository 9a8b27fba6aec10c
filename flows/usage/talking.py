"""Talking to models: `chat`, `serve`."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from flows.series_option import Series
from flows.usage.options import Phase, Tag

app = typer.Typer()

CHAT_EXAMPLES = """Examples:

\b
  miniseries chat tiny_long
  miniseries chat tiny -p "Spell the word: apple"
  printf 'Spell the word: apple\\nAnd pear?\\n' | miniseries chat tiny --temperature 0
  miniseries chat tiny_bidirectional --direction backward -p "and so it ended."
"""


@app.command("chat", epilog=CHAT_EXAMPLES)
def chat_command(
    tag: Tag,
    phase: Phase = None,
    prompt: Annotated[
        str | None, typer.Option("-p", "--prompt", help="Answer this and leave; - reads it from standard input.")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token.")] = 0.6,
    top_k: Annotated[int, typer.Option(min=0, help="Draw from the N likeliest tokens; 0: from all.")] = 50,
    top_p: Annotated[
        float | None, typer.Option(min=0.01, max=1.0, help="Draw from the fewest tokens with this probability.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same answer every time.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    direction: Annotated[
        Literal["forward", "backward"] | None, typer.Option(help="What comes next, or what came before (base models).")
    ] = None,
    series: Series = None,
) -> None:
    """Talk to a model, or have a base model complete text. In a pipe, each line is a message."""
    from core.chat.settings import ChatSettings
    from flows.commands import chat as command

    settings = ChatSettings(
        temperature=temperature, top_k=top_k or None, top_p=top_p, seed=seed, tokens=tokens, direction=direction
    )
    command.chat(tag, phase, prompt, settings)


@app.command("serve", epilog="Example: miniseries serve tiny_long tiny_bidirectional --port 8000")
def serve_command(
    tags: Annotated[list[str], typer.Argument(help="The tags to serve, the first one first.")],
    phase: Phase = None,
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 needs MINISERIES_API_KEY.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    no_key: Annotated[bool, typer.Option("--no-key", help="Let anybody in who can reach the address.")] = False,
    slots: Annotated[
        int, typer.Option(min=1, help="Answers under way at once, of each model; each has memory for a whole context.")
    ] = 8,
    waiting: Annotated[int, typer.Option(min=0, help="Requests in line, of each model; more are refused.")] = 64,
    answer_tokens: Annotated[int, typer.Option(min=1, help="Longest answer.")] = 2048,
    answer_seconds: Annotated[float, typer.Option(min=0.1, help="Time for an answer, waiting included.")] = 300.0,
    grace_seconds: Annotated[float, typer.Option(min=0.0, help="Time for answers to end when it stops.")] = 10.0,
    series: Series = None,
) -> None:
    """Serve models: an OpenAI-compatible API under /v1, and a web page to talk to them."""
    from core.serving.limits import Limits
    from flows.commands import serve as command

    limits = Limits(
        slots=slots,
        waiting=waiting,
        answer_tokens=answer_tokens,
        answer_seconds=answer_seconds,
        grace_seconds=grace_seconds,
    )
    command.serve(tags, phase, host=host, port=port, allow_no_key=no_key, limits=limits)
