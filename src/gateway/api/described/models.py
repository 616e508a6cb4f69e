"""Models and their calls, feedback, prompts."""

from __future__ import annotations

from gateway.api.described import model_shapes as shapes
from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.param import SELECTION, Param, name_of, whole_of
from gateway.api.described.shapes import (
    COUNT,
    FREE,
    NUMBER,
    TIME,
    USD,
    asked,
    by_name,
    many,
    maybe,
    number,
    one_of,
    ref,
    text,
    told,
    whole,
)
from gateway.models.selection import FIELDS

_T = text()
_VERSION = shapes.VERSION
_ASKED_OF = ("x-gateway-session", "x-gateway-tags", "x-gateway-cache", "x-gateway-optimise")
_REASON = text(longest=1000)
_RENDERED = told(
    {
        "prompt": told({"id": _T, "version": _VERSION}, {"hash": _T, "label": _T, "revision": COUNT, "split": FREE}),
        "messages": many(told({"role": _T, "content": _T})),
        "text": _T,
        "defaults": FREE,
        "tokens": told({"input": COUNT, "basis": one_of(("estimated", "counted", "provider"))}),
    }
)
_RESULT_OF_VERSION = told(
    {
        "version": _VERSION,
        "label": maybe(_T),
        "calls": COUNT,
        "failures": COUNT,
        "cost": USD,
        "cost_per_call": maybe(USD),
        "latency_seconds": told({"mean": maybe(NUMBER), "p50": maybe(NUMBER), "p95": maybe(NUMBER)}),
        "feedback": told({"count": COUNT, "mean": maybe(NUMBER)}),
    }
)
_SPLIT = many(asked({"version": _VERSION, "weight": whole(1, 1_000_000)}), 2, 10, said="versions with weights")
_ALIAS = text(like="^([A-Za-z_][A-Za-z0-9_]*)?$", said="champion where it is left out")
#: What a label may be called.
_NAMED = {"label": {**text(1, 64, like="^[A-Za-z_][A-Za-z0-9_.-]*$"), "not": {"const": "latest"}}}
_LABEL = "/prompts/{name}/labels/{label}"

DOORS: DescribedDoors = {
    ("POST", "/execute/llm"): Described(
        tag="Calls",
        body=shapes.EXECUTE_LLM,
        answer=ref("LlmResult"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("POST", "/execute/ml"): Described(
        tag="Calls",
        body=shapes.EXECUTE_ML,
        answer=ref("MlResult"),
        once=True,
        calls=True,
        headers=_ASKED_OF,
    ),
    ("POST", "/tokens/count"): Described(
        tag="Calls",
        body=shapes.COUNT_TOKENS,
        answer=told({"model": _T, "tokens": COUNT, "basis": _T, "encoding": maybe(_T)}, {"optimised": FREE}),
        calls=True,
    ),
    ("POST", "/feedback"): Described(
        tag="Calls",
        body=shapes.FEEDBACK,
        answer=told({"entry_id": _T, "model": _T, "score": number(0, 1), "at": TIME}),
        errors=(404,),
    ),
    ("GET", "/models"): Described(
        tag="Models",
        answer=told({"models": many(ref("Model")), "defaults": by_name(_T), "config": _T}),
    ),
    ("GET", "/models/{name}"): Described(tag="Models", answer=ref("Model")),
    ("GET", "/models/{name}/route"): Described(
        tag="Models",
        answer=ref("Route"),
        query=(
            Param("draw", text(longest=40, like=r"^(0(\.[0-9]+)?|1(\.0+)?)$"), "stands for chance, from 0 to 1"),
            whole_of("input_tokens", high=2_000_000, said="how long the call is"),
            *(SELECTION[name] for name in FIELDS),
        ),
        errors=(400, 429, 503),
    ),
    ("POST", "/models/{name}/promote"): Described(
        tag="Models", body=asked({"version": _VERSION}, {"alias": _ALIAS}), answer=ref("Alias"), errors=(409,)
    ),
    ("POST", "/models/{name}/rollback"): Described(
        tag="Models", body=asked({}, {"alias": _ALIAS}), answer=ref("Alias"), errors=(409,)
    ),
    ("POST", "/prompts"): Described(tag="Prompts", body=ref("NewPrompt"), answer=ref("PromptVersion"), errors=(409,)),
    ("GET", "/prompts"): Described(tag="Prompts", answer=told({"prompts": many(ref("ListedPrompt"))})),
    ("GET", "/prompts/{name}"): Described(
        tag="Prompts", answer=ref("Prompt"), query=(whole_of("version", said="the newest where it is left out"),)
    ),
    ("POST", "/prompts/{name}/render"): Described(
        tag="Prompts",
        body=asked(
            {},
            {
                "version": maybe(_VERSION),
                "label": {"anyOf": [text(longest=0), _NAMED["label"]]},
                "variables": FREE,
                "session": text(longest=200, said="which version of a split is meant"),
                "model": text(longest=200, said="whose tokens are counted"),
            },
            **{"not": {"required": ["version", "label"]}},
        ),
        answer=_RENDERED,
        calls=True,
    ),
    ("GET", "/prompts/{name}/diff"): Described(
        tag="Prompts",
        answer=told(
            {
                "name": _T,
                "from": _VERSION,
                "to": _VERSION,
                "changes": many(told({"field": _T, "lines": many(_T)})),
            }
        ),
        query=(whole_of("from", said="the version before to"), whole_of("to", said="the newest")),
    ),
    ("GET", "/prompts/{name}/results"): Described(
        tag="Prompts",
        answer=told({"name": _T, "days": COUNT, "results": many(_RESULT_OF_VERSION)}),
        query=(whole_of("days", high=366, default=30),),
    ),
    ("GET", _LABEL): Described(tag="Prompts", answer=ref("Label"), places=_NAMED),
    ("PUT", _LABEL): Described(
        tag="Prompts",
        body=asked(
            {},
            {"version": _VERSION, "split": _SPLIT, "reason": _REASON},
            oneOf=[{"required": ["version"]}, {"required": ["split"]}],
        ),
        answer=ref("LabelMove"),
        errors=(409,),
        says="production needs prompts:promote besides",
    ),
    ("DELETE", _LABEL): Described(tag="Prompts", answer=ref("LabelMove"), query=(name_of("reason"),), errors=(409,)),
    ("POST", _LABEL + "/rollback"): Described(
        tag="Prompts",
        body=asked({}, {"revision": maybe(whole(1, 2**31 - 1)), "reason": _REASON}),
        answer=ref("LabelMove"),
        errors=(409,),
    ),
}
