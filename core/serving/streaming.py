"""Sending an answer: whole, or as server-sent events while it is written.

A client that hangs up, in line or half way, gives its slot back at once.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine
from typing import TypeVar

from fastapi import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from core.serving.answers import Answer
from core.serving.errors import ApiError
from core.serving.replies import Json, Reply

CLIENT_CLOSED_REQUEST = 499  # as nginx calls it; only metrics see it
Result = TypeVar("Result")


async def send_whole(request: Request, answer: Answer, reply: Reply) -> Response:
    """The answer when it is complete."""

    async def collect() -> Response:
        await answer.begun()
        pieces = [piece async for piece in answer.pieces()]
        return JSONResponse(reply.whole(pieces, answer.finish_reason, answer.usage))

    try:
        return await while_connected(request, collect())
    finally:
        answer.close()


async def send_stream(request: Request, answer: Answer, reply: Reply, *, include_usage: bool) -> Response:
    """The answer piece by piece; until it has begun, what goes wrong is still a status."""
    try:
        await while_connected(request, answer.begun())
    except BaseException:
        answer.close()
        raise
    return AnswerResponse(answer, _events(answer, reply, include_usage=include_usage))


class AnswerResponse(StreamingResponse):
    """Server-sent events; closes its answer even if it is never sent."""

    media_type = "text/event-stream"

    def __init__(self, answer: Answer, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, headers={"X-Accel-Buffering": "no"})
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.close()


async def while_connected(request: Request, work: Coroutine[object, object, Result]) -> Result:
    """Do `work`; give it up when the client hangs up."""
    working = asyncio.ensure_future(work)
    hanging_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, hanging_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ApiError(CLIENT_CLOSED_REQUEST, "the client hung up")
        return working.result()
    finally:
        working.cancel()
        hanging_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _events(answer: Answer, reply: Reply, *, include_usage: bool) -> AsyncIterator[bytes]:
    """The events of one answer. A failure half way is an event too; then there is no [DONE]."""
    if (opening := reply.opening()) is not None:
        yield _event(opening, include_usage)
    try:
        async for piece in answer.pieces():
            yield _event(reply.chunk(piece), include_usage)
    except ApiError as error:
        yield _event({"error": error.body()}, False)
        return
    yield _event(reply.closing(answer.finish_reason), include_usage)
    if include_usage:
        yield _event(reply.usage(answer.usage), False)
    yield b"data: [DONE]\n\n"


def _event(value: Json, usage_follows: bool) -> bytes:
    told = {**value, "usage": None} if usage_follows else value
    return b"data: " + json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
