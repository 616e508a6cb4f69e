"""A line of a batch, answered as the door that it names would: the same decoding, serving and encoding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.api.errors import openai_error
from gateway.api.responses_door import ResponsesService
from gateway.api.wire import embeddings, openai, responses
from gateway.errors import GatewayError, NotSupported
from gateway.models.call import CallContext
from gateway.models.llm_models import Chat, Reply
from gateway.security.access import Caller
from gateway.serving.chat import ChatService
from gateway.serving.embed import EmbedService


class BatchLines:
    """See ``workflows.batch_tools.LinePort``."""

    def __init__(self, chat: ChatService, embed: EmbedService, respond: ResponsesService) -> None:
        self._chat = chat
        self._embed = embed
        self._respond = respond

    async def answer(self, caller: Caller, endpoint: str, body: Mapping[str, Any], call: CallContext) -> dict[str, Any]:
        """The body of the door's answer; its refusal is raised."""
        if endpoint == "/v1/chat/completions":
            request = openai.decode(dict(body))
            answer = await self._chat.complete(caller, request.chat, call)
            return openai.encode_reply(answer.reply, request.chat.model)
        if endpoint == "/v1/responses":
            asked = await self._respond.asked(caller, body)
            return (await self._respond.complete(caller, asked, call))[0]
        if endpoint == "/v1/embeddings":
            wanted = embeddings.decode(body)
            found = await self._embed.embed(caller, wanted, call)
            return embeddings.encode(found.embeddings, wanted.encoding, wanted.model)
        raise NotSupported("a batch has no such endpoint", param="url")

    @staticmethod
    def chat(endpoint: str, body: Mapping[str, Any]) -> Chat | None:
        """The chat that a request is, where it is one by itself."""
        if endpoint == "/v1/chat/completions":
            return openai.decode(dict(body)).chat
        if endpoint == "/v1/responses" and not body.get("previous_response_id"):
            return responses.decode(body, []).chat
        return None

    async def told(self, caller: Caller, endpoint: str, body: Mapping[str, Any], reply: Reply) -> dict[str, Any]:
        """The body of the door's answer to a request of ``chat`` that was asked elsewhere."""
        if endpoint == "/v1/responses":
            return await self._respond.told(caller, await self._respond.asked(caller, body), reply)
        return openai.encode_reply(reply, str(body["model"]))

    @staticmethod
    def refusal(error: GatewayError, request_id: str) -> dict[str, Any]:
        """The error as the door writes it."""
        return openai_error(error, request_id)
