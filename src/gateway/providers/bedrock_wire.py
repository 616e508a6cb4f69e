"""Bedrock's Converse as bytes: encode a ``Chat``, decode a ``Reply`` and a stream. Pure.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import NotSupported, UpstreamError, UpstreamMalformed
from gateway.models.llm_models import (
    ANSWER_TOOL,
    Chat,
    Choice,
    Delta,
    FinishReason,
    ImagePart,
    Message,
    Part,
    Reply,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.providers.carrying import answer_schema, arguments_of, is_detailed, result_blocks, turns_of, unmapped
from gateway.providers.lenient_json import loads
from gateway.providers.usage_counts import count_of, told

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_use",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})
#: Stands for what a tool gave back where that is nothing: blank texts are refused there.
_SILENCE = "(nothing)"
_FORMATS = frozenset({"png", "jpeg", "gif", "webp"})


def encode(chat: Chat, *, native_schema: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The request body, streamed or not, and the names of what could not be carried.

    A schema for the answer goes as Converse's own ``outputConfig`` where the model has that
    (``native_schema``), elsewhere as a forced tool. Raises ``NotSupported`` for what would change the
    answer's meaning.
    """
    dropped = [name for name in unmapped(chat, "bedrock") if name != "top_k"]
    _refuse(chat)
    dropped += [name for name in ("seed", "presence_penalty", "frequency_penalty") if getattr(chat, name) is not None]
    dropped += [name for name in ("reasoning_effort", "user") if getattr(chat, name)]
    parts = [part for message in chat.messages for part in message.parts]
    if is_detailed(parts):
        dropped.append("image_url.detail")
    if any(tool.strict for tool in chat.tools):
        dropped.append("tools.strict")
    body: dict[str, Any] = {"messages": turns_of(chat.messages, _blocks)}
    system = [part for message in chat.messages if message.role == "system" for part in message.parts]
    if system:
        body["system"] = [{"text": part.text} for part in system if isinstance(part, TextPart) and part.text.strip()]
    config: dict[str, Any] = {}
    for name, theirs in (("max_tokens", "maxTokens"), ("temperature", "temperature"), ("top_p", "topP")):
        if getattr(chat, name) is not None:
            config[theirs] = getattr(chat, name)
    if chat.stop:
        config["stopSequences"] = list(chat.stop)
    if config:
        body["inferenceConfig"] = config
    _tools(chat, body)
    _answer_form(chat, body, native_schema)
    if chat.dialect == "anthropic" and chat.extra.get("top_k") is not None:
        body["additionalModelRequestFields"] = {"top_k": chat.extra["top_k"]}
    return msgspec.json.encode(body), tuple(dict.fromkeys(dropped))


def decode_reply(content: bytes, *, forced: bool = True) -> Reply:
    """The whole answer; ``forced`` see ``carrying.is_forced``. ``UpstreamError`` for one that is not of this shape."""
    try:
        raw = loads(content)
        parts = tuple(part for block in raw["output"]["message"]["content"] for part in _part(block))
        stop = _stop(raw.get("stopReason"))
        if forced and any(isinstance(part, ToolUsePart) and part.name == ANSWER_TOOL for part in parts):
            parts = tuple(TextPart(part.arguments) if isinstance(part, ToolUsePart) else part for part in parts)
            stop = _answered(stop)
        return Reply("", "", (Choice(parts, _FINISH.get(stop, "stop"), stop),), decode_usage(raw.get("usage")))
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamMalformed("the provider's answer is not of the shape it should be", reached=True) from error


def decode_usage(raw: Any) -> Usage:
    """Usage as Bedrock counts: input without cache."""
    if not isinstance(raw, dict):
        return Usage()
    read, written = count_of(raw, "cacheReadInputTokens"), count_of(raw, "cacheWriteInputTokens")
    return told(
        Usage(
            input_tokens=count_of(raw, "inputTokens") + read + written,
            output_tokens=count_of(raw, "outputTokens"),
            cached_tokens=read,
            cache_write_tokens=written,
            basis="provider",
        )
    )


class StreamDecoder:
    """Turns the events of one stream into deltas; ``forced`` see ``carrying.is_forced``."""

    def __init__(self, *, forced: bool = True) -> None:
        self._forced = forced
        self._tools: dict[int, int] = {}
        #: Calls of which no arguments were said yet.
        self._silent: set[int] = set()
        #: Blocks that are the answer in the form of a tool call, and whether anything of each was said.
        self._answer: dict[int, bool] = {}

    def decode(self, event: str, raw: dict[str, Any]) -> list[Delta]:
        """The pieces in one event."""
        block = int(raw.get("contentBlockIndex") or 0)
        if event == "contentBlockStart":
            use = (raw.get("start") or {}).get("toolUse")
            if not isinstance(use, dict):
                return []
            if self._forced and use.get("name") == ANSWER_TOOL:
                self._answer[block] = False
                return []
            index = self._tools.setdefault(block, len(self._tools))
            self._silent.add(block)
            return [Delta(tool_index=index, tool_id=use.get("toolUseId") or "", tool_name=use.get("name") or "")]
        if event == "contentBlockDelta":
            return self._block_delta(block, raw.get("delta") or {})
        if event == "contentBlockStop" and self._answer.get(block) is False:
            return [Delta(text="{}")]  # an empty input comes without a piece
        if event == "contentBlockStop" and block in self._silent:
            self._silent.discard(block)
            return [Delta(tool_index=self._tools[block], arguments="{}")]
        if event == "messageStop":
            stop = _stop(raw.get("stopReason"))
            stop = _answered(stop) if self._answer else stop
            return [Delta(finish=_FINISH.get(stop, "stop"), raw_finish=stop)]
        if event == "metadata":
            return [Delta(usage=decode_usage(raw.get("usage")))]
        return []

    def _block_delta(self, block: int, delta: dict[str, Any]) -> list[Delta]:
        if delta.get("text"):
            return [Delta(text=delta["text"])]
        if isinstance(delta.get("toolUse"), dict) and block in self._answer:
            text = delta["toolUse"].get("input") or ""
            self._answer[block] |= bool(text)
            return [Delta(text=text)] if text else []
        if isinstance(delta.get("toolUse"), dict):
            text = delta["toolUse"].get("input") or ""
            if text:
                self._silent.discard(block)
            return [Delta(tool_index=self._tools.get(block, 0), arguments=text)]
        thought = delta.get("reasoningContent")
        if isinstance(thought, dict):
            return [Delta(thinking=thought.get("text") or "", signature=thought.get("signature") or "")]
        return []


def _refuse(chat: Chat) -> None:
    if chat.n != 1:
        raise NotSupported("this model gives one answer a call", mend="leave n out, or send several calls", param="n")
    choice = chat.tool_choice
    if choice is not None and choice.parallel is False and chat.tools:
        mend = "leave parallel_tool_calls out"
        raise NotSupported("this provider cannot forbid parallel tool calls", mend=mend, param="parallel_tool_calls")
    used = any(isinstance(part, (ToolUsePart, ToolResultPart)) for turn in chat.messages for part in turn.parts)
    if used and not chat.tools:
        mend = "send the tools that the conversation has used"
        raise NotSupported("this provider needs the tools of earlier tool calls", mend=mend, param="tools")
    if any(isinstance(part, ImagePart) for turn in chat.messages if turn.role == "system" for part in turn.parts):
        raise NotSupported("this provider takes no images in system turns", mend="move them", param="messages")
    if choice is not None and choice.mode == "none" and chat.tools and used:
        mend = "leave tool_choice out"
        raise NotSupported("this provider cannot forbid tools once they were used", mend=mend, param="tool_choice")


def _tools(chat: Chat, body: dict[str, Any]) -> None:
    choice = chat.tool_choice
    if not chat.tools or (choice is not None and choice.mode == "none"):
        return
    config: dict[str, Any] = {
        "tools": [
            {
                "toolSpec": {
                    "name": tool.name,
                    **({"description": tool.description} if tool.description else {}),
                    "inputSchema": {"json": tool.schema or {"type": "object"}},
                }
            }
            for tool in chat.tools
        ]
    }
    if choice is not None:
        config["toolChoice"] = {
            "auto": {"auto": {}},
            "required": {"any": {}},
            "tool": {"tool": {"name": choice.name}},
            "none": {},
        }[choice.mode]
    body["toolConfig"] = config


def _answer_form(chat: Chat, body: dict[str, Any], native: bool) -> None:
    """Puts the schema that the answer is held to into the body.

    https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html
    """
    asked = chat.response_format
    if native and asked is not None and asked.kind == "json_schema":
        schema = {"schema": msgspec.json.encode(asked.schema).decode(), **({"name": asked.name} if asked.name else {})}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
        return
    forced = answer_schema(chat)
    if forced is not None:
        tool = {"name": ANSWER_TOOL, "description": "Gives the answer.", "inputSchema": {"json": forced}}
        # any of one tool is that tool, and more models know this choice than one by name
        body["toolConfig"] = {"tools": [{"toolSpec": tool}], "toolChoice": {"any": {}}}


def _blocks(message: Message) -> list[dict[str, Any]]:
    """Blank texts are refused there, and say nothing."""
    return [_block(part) for part in message.parts if not isinstance(part, TextPart) or part.text.strip()]


def _block(part: Part) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"text": part.text}
    if isinstance(part, ImagePart):
        return _image(part)
    if isinstance(part, ToolUsePart):
        return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": arguments_of(part)}}
    if isinstance(part, ToolResultPart):
        told = {"text": part.content if part.content.strip() else _SILENCE}
        result: dict[str, Any] = {"toolUseId": part.id, "content": result_blocks(part, told, _image)}
        return {"toolResult": result | ({"status": "error"} if part.is_error else {})}
    text = {"text": part.text, **({"signature": part.signature} if part.signature else {})}
    return {"reasoningContent": {"reasoningText": text}}


def _image(part: ImagePart) -> dict[str, Any]:
    form = part.media_type.removeprefix("image/").replace("jpg", "jpeg")
    if part.url:
        mend = "send the image as base64"
        raise NotSupported("this provider fetches no images by URL", mend=mend, param="messages")
    if form not in _FORMATS:
        raise NotSupported("this provider takes png, jpeg, gif and webp", mend="convert the image", param="messages")
    return {"image": {"format": form, "source": {"bytes": part.data}}}


def _part(block: dict[str, Any]) -> list[Part]:
    if "text" in block:
        return [TextPart(block["text"])]
    if "toolUse" in block:
        use = block["toolUse"]
        return [ToolUsePart(use["toolUseId"], use["name"], msgspec.json.encode(use.get("input") or {}).decode())]
    if "reasoningContent" in block:
        text = block["reasoningContent"].get("reasoningText") or {}
        return [ThinkingPart(text["text"], text.get("signature") or "")] if text.get("text") else []
    if "citationsContent" in block:
        return [TextPart("".join(item.get("text") or "" for item in block["citationsContent"].get("content") or ()))]
    return []


def _answered(stop: str) -> str:
    """Why an answer ended that came as a tool call: for its caller there was no call."""
    return "end_turn" if stop == "tool_use" else stop


def _stop(raw: Any) -> str:
    """Why the answer ended. ``UpstreamError`` for one that the model did not bring to its end."""
    stop = str(raw or "end_turn")
    if stop in _BROKEN:
        raise UpstreamError("the model's output was malformed", mend="send it again", reached=True)
    return stop
