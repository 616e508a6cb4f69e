"""Google's generateContent as bytes: encode a ``Chat``, decode a ``Reply`` and a stream. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.errors import NotSupported, UpstreamError, UpstreamMalformed
from gateway.models.call_signatures import NAME as SIGNATURE
from gateway.models.llm_models import (
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
    Tool,
    ToolChoice,
    ToolResultPart,
    ToolUsePart,
    Usage,
)
from gateway.providers.carrying import arguments_of, begun_answer, is_detailed, refuse_shown_results, unmapped
from gateway.providers.lenient_json import loads
from gateway.providers.usage_counts import count_of, google_detail, told

_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
}
#: Ends of an answer that is none: what the model wrote cannot be read as text or as a call.
_BROKEN = frozenset(
    {
        "MALFORMED_FUNCTION_CALL",
        "MALFORMED_RESPONSE",
        "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS",
        "UNEXPECTED_TOOL_CALL",
    }
)
#: Tokens of thinking for an effort, as Google's own OpenAI-compatible endpoint sets them.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_NUMBERS = {
    "temperature": "temperature",
    "top_p": "topP",
    "max_tokens": "maxOutputTokens",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
#: Stands for the signature of a call that another model made.
#: https://ai.google.dev/gemini-api/docs/thought-signatures
_UNSIGNED = "skip_thought_signature_validator"
_SHAPE = "the provider's answer is not of the shape it should be"


def encode(chat: Chat, *, stream: bool, signed: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The request body, and the names of what could not be carried.

    The model and ``stream`` are in this dialect's URL, so the body is the same with and without. ``signed``
    says that the model is of Gemini 3 or later, which takes images in tools' results, and refuses calls without a
    thought signature: those of other models get Google's word for "none was made".
    Raises ``NotSupported`` for what would change the answer's meaning.
    """
    if chat.tool_choice is not None and chat.tool_choice.parallel is False:
        raise NotSupported(
            "this model cannot be held to one tool call at a time",
            mend="leave parallel_tool_calls out, or use another model",
            param="parallel_tool_calls",
        )
    dropped = ["user"] if chat.user else []
    dropped += [name for name in (*unmapped(chat, "gemini"), *begun_answer(chat)) if name != SIGNATURE]
    if _asked_budget(chat) is not None:
        dropped.remove("thinking")
    parts = [part for message in chat.messages for part in message.parts]
    if any(isinstance(part, ThinkingPart) for part in parts) and "thinking" not in dropped:
        dropped.append("thinking")
    if is_detailed(parts):
        dropped.append("image_url.detail")
    if any(tool.strict for tool in chat.tools):
        dropped.append("tools.strict")
    if chat.reasoning_effort and chat.reasoning_effort not in _BUDGETS:
        dropped.append("reasoning_effort")
    if not signed:  # Gemini 2 refuses them
        refuse_shown_results(chat)
    body: dict[str, Any] = {"contents": _contents(chat.messages, signed)}
    if not body["contents"]:
        raise NotSupported("this model answers a user's turn, and there is none", mend="add one", param="messages")
    system = _system(chat.messages)
    if system:
        body["systemInstruction"] = {"parts": system}
    if chat.tools:
        body["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in chat.tools]}]
        if chat.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": _calling(chat.tool_choice)}
    config = _generation_config(chat)
    if config:
        body["generationConfig"] = config
    return msgspec.json.encode(body), tuple(dict.fromkeys(dropped))


def decode_reply(content: bytes) -> Reply:
    """The whole answer. ``UpstreamError`` for one that is not of this shape."""
    try:
        raw = loads(content)
        name = _text(raw, "responseId")
        choices = tuple(_choice(item, name, place) for place, item in enumerate(raw.get("candidates") or ()))
        if not choices:
            blocked = _blocked(raw)
            if not blocked:
                raise ValueError("no candidates")
            choices = (Choice((), "content_filter", blocked),)
        return Reply(
            id=name,
            model=_text(raw, "modelVersion"),
            choices=choices,
            usage=decode_usage(raw.get("usageMetadata")),
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamMalformed(_SHAPE, reached=True) from error


def decode_usage(raw: Any) -> Usage:
    """Usage as Google counts: prompt with cached but without the tools' own, answer without thoughts."""
    if not isinstance(raw, dict):
        return Usage()
    thoughts = count_of(raw, "thoughtsTokenCount")
    return told(
        Usage(
            input_tokens=count_of(raw, "promptTokenCount") + count_of(raw, "toolUsePromptTokenCount"),
            output_tokens=count_of(raw, "candidatesTokenCount") + thoughts,
            cached_tokens=count_of(raw, "cachedContentTokenCount"),
            reasoning_tokens=thoughts,
            basis="provider",
            detail=google_detail(raw),
        )
    )


class StreamDecoder:
    """Turns the chunks of one stream into deltas. Counts are cumulative; a later one replaces its like."""

    def __init__(self) -> None:
        self._id = ""
        self._model = ""
        self._counts: dict[str, Any] = {}
        self._calls: dict[int, int] = {}

    def decode(self, raw: dict[str, Any]) -> list[Delta]:
        """The pieces in one chunk. One that is not of this shape raises what Python does, and leaves nothing
        behind; ``UpstreamError`` for the end of an answer that is none."""
        calls = dict(self._calls)
        try:
            return self._decode(raw)
        except (KeyError, TypeError, ValueError, AttributeError):
            self._calls = calls
            raise

    def _decode(self, raw: dict[str, Any]) -> list[Delta]:
        self._id = self._id or _text(raw, "responseId")
        self._model = _text(raw, "modelVersion") or self._model
        deltas: list[Delta] = []
        candidates = raw.get("candidates") or ()
        for place, candidate in enumerate(candidates):
            deltas += self._candidate(candidate, _index(candidate, place))
        blocked = "" if candidates else _blocked(raw)
        if blocked:
            deltas.append(self._delta(finish="content_filter", raw_finish=blocked))
        usage = raw.get("usageMetadata")
        if isinstance(usage, dict):
            counts = self._counts | usage
            deltas.append(self._delta(usage=decode_usage(counts)))
            self._counts = counts
        return deltas

    def _candidate(self, candidate: dict[str, Any], choice: int) -> list[Delta]:
        deltas: list[Delta] = []
        for part in _parts(candidate, self._id, choice, self._calls.get(choice, 0)):
            if isinstance(part, ToolUsePart):
                index = self._calls.get(choice, 0)
                self._calls[choice] = index + 1
                deltas.append(
                    self._delta(
                        choice=choice,
                        tool_index=index,
                        tool_id=part.id,
                        tool_name=part.name,
                        arguments=part.arguments,
                        signature=part.signature,
                    )
                )
            elif isinstance(part, ThinkingPart):
                deltas.append(self._delta(choice=choice, thinking=part.text, signature=part.signature))
            elif isinstance(part, TextPart):
                deltas.append(self._delta(choice=choice, text=part.text))
        reason = _text(candidate, "finishReason")
        if reason:
            finish = _finish(reason, called=choice in self._calls)
            deltas.append(self._delta(choice=choice, finish=finish, raw_finish=reason))
        return deltas

    def _delta(self, **fields: Any) -> Delta:
        return Delta(id=self._id, model=self._model, **fields)


def _generation_config(chat: Chat) -> dict[str, Any]:
    config: dict[str, Any] = {
        theirs: getattr(chat, ours) for ours, theirs in _NUMBERS.items() if getattr(chat, ours) is not None
    }
    if chat.stop:
        config["stopSequences"] = list(chat.stop)
    if chat.n != 1:
        config["candidateCount"] = chat.n
    wanted = chat.response_format
    if wanted is not None and wanted.kind != "text":
        config["responseMimeType"] = "application/json"
        if wanted.kind == "json_schema":
            config["responseJsonSchema"] = wanted.schema
    asked = _asked_budget(chat)
    budget = _BUDGETS.get(chat.reasoning_effort) if asked is None else asked
    if budget is not None:
        config["thinkingConfig"] = {"thinkingBudget": budget} | ({"includeThoughts": True} if budget else {})
    return config


def _asked_budget(chat: Chat) -> int | None:
    """Tokens of thinking that an Anthropic-style call asks for: the same thing here."""
    asked = chat.extra.get("thinking") if chat.dialect == "anthropic" else None
    budget = asked.get("budget_tokens") if isinstance(asked, dict) and asked.get("type") == "enabled" else None
    return budget if isinstance(budget, int) and budget > 0 else None


def _declaration(tool: Tool) -> dict[str, Any]:
    declared: dict[str, Any] = {"name": tool.name, "description": tool.description}
    return declared | ({"parametersJsonSchema": tool.schema} if tool.schema else {})


def _calling(choice: ToolChoice) -> dict[str, Any]:
    calling: dict[str, Any] = {"mode": _MODES[choice.mode]}
    return calling | ({"allowedFunctionNames": [choice.name]} if choice.mode == "tool" else {})


def _system(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """What the system says, which is text alone here."""
    parts = [part for message in messages if message.role == "system" for part in message.parts]
    if any(isinstance(part, ImagePart) for part in parts):
        raise NotSupported(
            "this model takes no image from the system", mend="send the image in a user's turn", param="messages"
        )
    return [{"text": part.text} for part in parts if isinstance(part, TextPart) and part.text]


def _contents(messages: tuple[Message, ...], signed: bool) -> list[dict[str, Any]]:
    """User and model turns; results of tools are the user's, and equal roles in a row become one."""
    turns: list[dict[str, Any]] = []
    names: dict[str, str] = {}
    for message in messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts for block in _blocks(part, names)]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"] += blocks
        else:
            turns.append({"role": role, "parts": blocks})
    if signed:
        for turn in turns:  # parallel calls are signed by their first
            call = next((block for block in turn["parts"] if "functionCall" in block), None)
            if call is not None and "thoughtSignature" not in call:
                call["thoughtSignature"] = _UNSIGNED
    return turns


def _blocks(part: Part, names: dict[str, str]) -> list[dict[str, Any]]:
    """One part, or none. ``names`` holds what the calls so far were named, and learns this one's."""
    if isinstance(part, TextPart):
        return [{"text": part.text}] if part.text else []
    if isinstance(part, ImagePart):
        return [_image(part)]
    if isinstance(part, ToolUsePart):
        names[part.id] = part.name
        block: dict[str, Any] = {"functionCall": {"id": part.id, "name": part.name, "args": arguments_of(part)}}
        return [block | ({"thoughtSignature": part.signature} if part.signature else {})]
    if isinstance(part, ToolResultPart):
        if part.id not in names:
            raise NotSupported(
                "a tool's result answers a call that is not in the conversation",
                mend="send the assistant's turn with the tool call before its result",
                param="messages",
            )
        said = {"error" if part.is_error else "output": part.content}
        response: dict[str, Any] = {"id": part.id, "name": names[part.id], "response": said}
        return [{"functionResponse": response | ({"parts": list(map(_image, part.images))} if part.images else {})}]
    return []


def _image(part: ImagePart) -> dict[str, Any]:
    if part.url:
        mend = "send the image itself, as a data URL in base64"
        raise NotSupported("this model fetches no image by its URL", mend=mend, param="messages")
    return {"inlineData": {"mimeType": part.media_type, "data": part.data}}


def _choice(candidate: dict[str, Any], name: str, place: int) -> Choice:
    parts = _parts(candidate, name, _index(candidate, place), 0)
    reason = _text(candidate, "finishReason") or "STOP"
    called = any(isinstance(part, ToolUsePart) for part in parts)
    return Choice(tuple(parts), _finish(reason, called=called), reason)


def _parts(candidate: dict[str, Any], name: str, choice: int, calls: int) -> list[Part]:
    """The parts that say something. Calls without an id get one from the answer's ``name``, the ``choice``
    and their place in it, of which ``calls`` went before."""
    content = candidate.get("content") or {}
    parts: list[Part] = []
    for raw in content.get("parts") or ():
        call = raw.get("functionCall")
        if call is not None:
            made = "_".join(["call", *([name] if name else []), str(choice), str(calls)])
            parts.append(_call(call, made, _text(raw, "thoughtSignature")))
            calls += 1
            continue
        text = _text(raw, "text")
        if raw.get("thought"):
            signature = _text(raw, "thoughtSignature")
            if text or signature:
                parts.append(ThinkingPart(text, signature))
        elif text:
            parts.append(TextPart(text))
    return parts


def _call(raw: dict[str, Any], made: str, signature: str) -> ToolUsePart:
    arguments = raw.get("args") or {}
    name = _text(raw, "name")
    if not name or not isinstance(arguments, dict):
        raise ValueError("not a function call")
    return ToolUsePart(_text(raw, "id") or made, name, msgspec.json.encode(arguments).decode(), signature)


def _finish(reason: str, *, called: bool) -> FinishReason:
    if reason in _BROKEN:
        raise UpstreamError(
            f"the provider's model broke its answer off: {reason}", mend="send the request again", reached=True
        )
    finish = _FINISH.get(reason, "stop")
    return "tool_use" if called and finish == "stop" else finish


def _blocked(raw: dict[str, Any]) -> str:
    """Why the prompt was blocked; empty where it was not."""
    return _text(raw.get("promptFeedback") or {}, "blockReason")


def _index(candidate: dict[str, Any], place: int) -> int:
    index = candidate.get("index")
    return place if index is None else int(index)


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value
