"""What clients may ask: OpenAI's fields, as far as these models have them, and three of our own.

Our own: `top_k`, `direction` ("backward": what stands before the prompt), and `parts` in an assistant's message (its
calls of Python, as an answer gave them). A field that is unknown, or whose value asks for what is not offered, is
refused by name; values that ask for nothing (`n: 1`, penalties of 0) are fine.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from core.data.direction import Way


def _listed(value: object) -> object:
    """One text stands for a list of it."""
    return [value] if isinstance(value, str) else value


StopText = Annotated[str, Field(min_length=1, max_length=256)]
Neutral = Annotated[float, Field(ge=0, le=0)]


class Asked(BaseModel):
    """Base of all: no other fields, no infinite numbers."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class StreamOptions(Asked):
    """What a stream says besides the answer."""

    include_usage: bool = False
    include_obfuscation: Literal[False] = False


class TextPart(Asked):
    """One stretch of a message."""

    type: str
    text: str


class ChatMessage(Asked):
    """One turn. Whether roles and parts make a conversation is decided by `core.posttraining.conversation`."""

    role: str
    content: str | list[TextPart] | None = None
    parts: list[TextPart] | None = None
    name: str | None = None
    refusal: None = None
    annotations: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None


class SamplingFields(Asked):
    """How an answer is drawn; common to both endpoints."""

    model: str
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=1, le=1 << 20)] | None = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 63)] | None = None
    direction: Way | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    n: Literal[1] | None = None
    frequency_penalty: Neutral | None = None
    presence_penalty: Neutral | None = None
    stop: Annotated[list[StopText], Field(max_length=4), BeforeValidator(_listed)] | None = None

    @property
    def wanted_tokens(self) -> int | None:
        """How long the answer may be; None leaves it to the server."""
        return self.max_tokens

    @property
    def stops(self) -> list[str]:
        """The texts at which the answer ends."""
        return self.stop or []

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with what it cost."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(SamplingFields):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    logprobs: Literal[False] | None = None

    @property
    def wanted_tokens(self) -> int | None:
        """Both names of the limit mean the same; the newer one wins."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class CompletionRequest(SamplingFields):
    """POST /v1/completions."""

    prompt: str
    best_of: Literal[1] | None = None
    echo: Literal[False] | None = None
    logprobs: None = None
    suffix: None = None
