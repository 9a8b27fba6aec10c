"""Refusals in the shape that OpenAI's clients read: {"error": {"message", "type", "param", "code"}}.

Every refusal is one line that says what is wrong and what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

TYPES = {401: "authentication_error", 429: "rate_limit_error"}  # of the others: by their hundreds


class ApiError(Exception):
    """A request that is refused."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers

    def response(self) -> JSONResponse:
        """What the client gets."""
        return JSONResponse({"error": self.body()}, status_code=self.status, headers=self.headers)

    def body(self) -> dict[str, str | None]:
        """The value of "error"."""
        kind = TYPES.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        return {"message": " ".join(str(self).split()), "type": kind, "param": self.param, "code": self.code}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that can never be answered as it is."""
    return ApiError(400, message, param=param, code=code)


def add_error_handlers(app: FastAPI) -> None:
    """Give every refusal of `app` that shape, those of the framework included."""

    @app.exception_handler(ApiError)
    async def refused(_request: Request, error: ApiError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def malformed(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _first_problem(error.errors()).response()

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> JSONResponse:
        where = f"{request.method} {request.url.path}"
        return ApiError(error.status_code, f"{where:.200}: {error.detail}", headers=error.headers).response()

    @app.exception_handler(Exception)
    async def failed(_request: Request, _error: Exception) -> JSONResponse:
        return ApiError(500, "the server failed; its log says why").response()


def _encodable(name: str) -> str:
    """A client's own field name, which may be no text."""
    return name.encode("utf-8", "backslashreplace").decode()[:80]


def _first_problem(problems: Sequence[Mapping[str, object]]) -> ApiError:
    problem = problems[0]
    location = problem["loc"]
    path = [_encodable(str(step)) for step in location[1:]] if isinstance(location, Sequence) else []
    if problem["type"] == "json_invalid":
        return invalid(f"the body is not JSON, at character {'.'.join(path)}")
    param = ".".join(path) or None
    if problem["type"] == "extra_forbidden":
        return invalid(f"{param} is not supported; leave it out", param=param, code="unsupported_parameter")
    return invalid(f"{param or 'the body'}: {problem['msg']}", param=param)
