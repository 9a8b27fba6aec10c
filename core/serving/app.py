"""The web application: OpenAI's endpoints, the chat page, health and metrics, behind one guard."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from core.serving.errors import add_error_handlers
from core.serving.guard import Access, Guard
from core.serving.metrics import CONTENT_TYPE_LATEST
from core.serving.page import page_response
from core.serving.replies import ChatReply, CompletionReply, Json
from core.serving.schemas import ChatRequest, CompletionRequest
from core.serving.service import ServedModel, Service
from core.serving.streaming import send_stream, send_whole


def create_app(service: Service, access: Access) -> FastAPI:
    """The application; its lifespan starts and stops the engines of `service`."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await asyncio.to_thread(service.stop)

    app = FastAPI(title="miniseries", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    add_error_handlers(app)
    _add_answers(app, service)
    _add_information(app, service)
    app.add_middleware(
        Guard,
        access=access,
        request_bytes=service.limits.request_bytes,
        count=lambda route, status: service.metrics.responses.labels(route, str(status)).inc(),
    )
    return app


def _add_answers(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions")
    async def chat(request: Request, asked: ChatRequest) -> Response:
        answer, reply = await service.chat(asked), ChatReply(asked.model)
        if asked.stream:
            return await send_stream(request, answer, reply, include_usage=asked.include_usage)
        return await send_whole(request, answer, reply)

    @app.post("/v1/completions")
    async def complete(request: Request, asked: CompletionRequest) -> Response:
        answer, way = await service.complete(asked)
        reply = CompletionReply(asked.model, is_backward=way == "backward")
        if asked.stream:
            return await send_stream(request, answer, reply, include_usage=asked.include_usage)
        return await send_whole(request, answer, reply)


def _add_information(app: FastAPI, service: Service) -> None:
    began = int(time.time())

    @app.get("/v1/models")
    async def models() -> Json:
        return {"object": "list", "data": [_model_json(served, began) for served in service.models.values()]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Json:
        return _model_json(service.find(name), began)

    @app.get("/health")
    async def health() -> Response:
        status = "ok" if service.is_healthy else "an engine failed; see the log"
        return JSONResponse({"status": status}, status_code=200 if service.is_healthy else 503)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/")
    async def page() -> HTMLResponse:
        return page_response()


def _model_json(served: ServedModel, created: int) -> Json:
    model = served.text_model
    return {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": "miniseries",
        "chat": model.can_chat,
        "directions": list(model.speaker.ways),
        "context_tokens": model.context_tokens,
    }
