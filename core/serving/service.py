"""The models of one server, and how what a client asked becomes an answer of one of them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.chat.text_model import AnswerOptions, TextError, TextModel
from core.data.direction import Way
from core.inference.engine import ContextError, Request
from core.posttraining.conversation import Conversation, ConversationError, parse_conversation
from core.recipes.table import canonical_tag
from core.serving.answers import Answer
from core.serving.engine_thread import EngineThread
from core.serving.errors import ApiError, invalid
from core.serving.limits import Limits
from core.serving.metrics import Metrics
from core.serving.schemas import ChatMessage, ChatRequest, CompletionRequest, SamplingFields
from core.serving.stop_strings import StopStrings


@dataclass(frozen=True)
class ServedModel:
    """A model and the thread of its engine."""

    text_model: TextModel
    thread: EngineThread


class Service:
    """Everything behind the routes. `start` before the first request, `stop` after the last."""

    def __init__(self, models: Sequence[TextModel], limits: Limits) -> None:
        self.limits = limits
        self.models = {
            model.name: ServedModel(
                model, EngineThread(model.name, model.engine(limits.slots), waiting_limit=limits.waiting)
            )
            for model in models
        }
        self.metrics = Metrics([served.thread for served in self.models.values()])

    def start(self) -> None:
        """Start every engine."""
        for served in self.models.values():
            served.thread.start()

    def stop(self) -> None:
        """End every answer as cut off, and every engine."""
        for served in self.models.values():
            served.thread.stop()

    @property
    def is_healthy(self) -> bool:
        """Whether every engine takes requests."""
        return all(served.thread.is_alive for served in self.models.values())

    def find(self, name: str) -> ServedModel:
        """The model a client named; `-` and `_` are the same. Raises `ApiError`."""
        served = self.models.get(name) or self.models.get(canonical_tag(name))
        if served is None:
            known = ", ".join(self.models)
            raise ApiError(404, f"no model {name!r:.80} here, only {known}", param="model", code="model_not_found")
        return served

    async def chat(self, asked: ChatRequest) -> Answer:
        """Begin the next turn of a conversation. Raises `ApiError`."""
        served = self.find(asked.model)
        model = served.text_model
        if not model.can_chat:
            raise invalid(f"{model.name} was not fine-tuned to chat; use /v1/completions", param="model")
        way = _way(asked, model)
        if way != "forward":
            raise invalid("a conversation is read forward; use /v1/completions", param="direction")
        options = self._options(asked)
        request = await _render(lambda: model.chat_request(_conversation(asked.messages), options))
        return self._begin(served, request, StopStrings(model.chat_pieces(), asked.stops))

    async def complete(self, asked: CompletionRequest) -> tuple[Answer, Way]:
        """Begin a completion, and say which way it is written. Raises `ApiError`."""
        served = self.find(asked.model)
        model = served.text_model
        way, options = _way(asked, model), self._options(asked)
        if way == "backward" and asked.stops:
            raise invalid("what is written backward cannot end at a text; leave it out", param="stop")
        request = await _render(lambda: model.completion_request(asked.prompt, way, options))
        return self._begin(served, request, StopStrings(model.completion_pieces(way), asked.stops)), way

    def _begin(self, served: ServedModel, request: Request, pieces: StopStrings) -> Answer:
        return Answer(served.thread, request, pieces, self.limits, self.metrics)

    def _options(self, asked: SamplingFields) -> AnswerOptions:
        most = self.limits.answer_tokens
        if (asked.wanted_tokens or 0) > most:
            raise invalid(f"an answer has at most {most:,} tokens here; ask for less", param="max_tokens")
        return AnswerOptions(
            temperature=1.0 if asked.temperature is None else asked.temperature,
            top_k=asked.top_k,
            top_p=asked.top_p,
            seed=secrets.randbits(63) if asked.seed is None else asked.seed,
            tokens=asked.wanted_tokens,
            most_tokens=most,
        )


async def _render(request: Callable[[], Request]) -> Request:
    """Parse and tokenise in a thread of the pool: a long text must not hold up everybody else's tokens."""
    try:
        return await asyncio.to_thread(request)
    except ContextError as error:
        raise invalid(str(error), code="context_length_exceeded") from None
    except TextError as error:
        raise invalid(str(error), param="prompt") from None


def _way(asked: SamplingFields, model: TextModel) -> Way:
    ways = model.speaker.ways
    if asked.direction is not None and asked.direction not in ways:
        raise invalid(f"{model.name} reads {' and '.join(ways)}, not {asked.direction}", param="direction")
    return asked.direction or ways[0]


def _conversation(messages: Sequence[ChatMessage]) -> Conversation:
    try:
        conversation = parse_conversation({"messages": [_message_json(message) for message in messages]})
    except ConversationError as error:
        raise invalid(str(error), param="messages") from None
    if conversation.messages[-1].role != "user":
        raise invalid("the last message must be the user's: there is nothing to answer", param="messages")
    return conversation


def _message_json(message: ChatMessage) -> dict[str, object]:
    """A turn as `parse_conversation` reads it: `parts` stand for the content, text parts of others become one text."""
    if message.parts is not None:
        return {"role": message.role, "content": [part.model_dump() for part in message.parts]}
    content = message.content
    if isinstance(content, list) and all(part.type == "text" for part in content):
        return {"role": message.role, "content": "".join(part.text for part in content)}
    if isinstance(content, list):
        return {"role": message.role, "content": [part.model_dump() for part in content]}
    return {"role": message.role, "content": content}
