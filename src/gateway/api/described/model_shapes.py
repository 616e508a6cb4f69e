"""Models, their calls, prompts and prices, as they are asked and told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from gateway.api.described.shapes import (
    ANY,
    COUNT,
    FREE,
    NUMBER,
    TIME,
    TRUTH,
    USD,
    Schema,
    asked,
    by_name,
    many,
    maybe,
    number,
    one_field_of,
    one_of,
    ref,
    text,
    told,
    whole,
)
from gateway.api.described.work_bodies import SELECTION
from gateway.ledger.price_card import Rates
from gateway.models.llm_models import FinishReason, UsageBasis
from gateway.models.ml_models import Family
from gateway.models.selection import CAPABILITIES
from gateway.registry.prompt_variables import KINDS
from gateway.registry.prompt_version import LONGEST_TEMPLATE

_T = text()
_INT = 2**31 - 1
VERSION = whole(1, _INT)
PROMPT_NAME = r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*$"
_FLOATS = {"type": "number"}
_TARGETS = many(told({"version": VERSION, "weight": COUNT}))

_PREDICTION = told(
    {},
    {
        "label": _T,
        "probabilities": by_name(_FLOATS),
        "prediction_set": many(_T),
        "value": NUMBER,
        "lower": NUMBER,
        "upper": NUMBER,
        "coverage": NUMBER,
        "score": NUMBER,
        "threshold": NUMBER,
        "is_anomaly": TRUTH,
        "cluster": {"type": "integer"},
        "distance": NUMBER,
        "contributions": many(told({"feature": _T, "value": NUMBER, "contribution": NUMBER})),
        "base_value": NUMBER,
        "out_of_range": many(_T),
    },
    said="of one row, or one step ahead; its fields are those of the model's family",
)
_INPUT_SCHEMA = told(
    {
        "features": many(
            told(
                {"name": _T, "description": _T, "unit": _T, "minimum": maybe(NUMBER), "maximum": maybe(NUMBER)},
            )
        ),
        "kind": one_of(("rows", "series")),
        "max_rows": COUNT,
        "min_length": COUNT,
        "max_horizon": COUNT,
    }
)
_MODEL_VERSION = told(
    {
        "version": VERSION,
        "aliases": many(_T),
        "family": one_of(get_args(Family)),
        "metrics": by_name(_FLOATS),
        "artifact": _T,
        "created_at": TIME,
        "created_by": _T,
    },
    {"format": _T, "card": FREE, "data_hash": _T, "seed": {"type": "integer"}, "libraries": by_name(_T)},
)
_TURN = asked(
    {"role": one_of(("system", "developer", "user", "assistant")), "content": text(1, LONGEST_TEMPLATE)},
)
_VARIABLE: Schema = {
    "oneOf": [
        one_of(KINDS),
        asked(
            {},
            {
                "type": one_of(KINDS, default="any"),
                "required": TRUTH,
                "default": ANY,
                "description": text(longest=1000),
                "enum": many(ANY, 1, 100),
                "pattern": text(longest=500),
                "min_length": whole(0, 10**7),
                "max_length": whole(0, 10**7),
                "minimum": NUMBER,
                "maximum": NUMBER,
            },
        ),
    ]
}
_FORM: Schema = {
    "oneOf": [
        asked({"type": one_of(("text", "json_object"))}),
        asked(
            {
                "type": one_of(("json_schema",)),
                "json_schema": asked(
                    {"name": text(1, 64), "schema": FREE}, {"description": _T, "strict": maybe(TRUTH)}
                ),
            }
        ),
    ]
}
_VIEW_OF_PROMPT: Mapping[str, Schema] = {
    "name": _T,
    "version": VERSION,
    "variables": by_name(FREE),
    "defaults": FREE,
    "comment": _T,
    "hash": _T,
    "created_by": _T,
    "created_at": TIME,
}
_ONE_FORM: Mapping[str, Schema] = {
    "template": _T,
    "messages": many(told({"role": _T, "content": _T})),
}
_MOVE: Mapping[str, Schema] = {
    "name": _T,
    "label": _T,
    "revision": COUNT,
    "targets": _TARGETS,
    "previous": maybe(COUNT),
    "action": one_of(("set", "rollback", "remove")),
    "by": _T,
    "at": TIME,
    "reason": _T,
}
_RATES: Mapping[str, Schema] = dict.fromkeys(Rates.__struct_fields__, USD)
_LLM_MESSAGES = many(asked({"role": one_of(("system", "user", "assistant")), "content": _T}), 1)
_LLM_INPUT = asked(
    {},
    {
        "prompt": text(1, like=r"\S"),
        "messages": _LLM_MESSAGES,
        "template": {
            "description": "a stored prompt: name, name@version, name@label, or an object; or {text}",
            "oneOf": [
                text(1),
                asked(
                    {},
                    {"name": _T, "id": _T, "text": _T, "version": {"oneOf": [VERSION, _T]}, "label": _T},
                ),
            ],
        },
        "variables": FREE,
        "version": {"oneOf": [VERSION, text(like="^[1-9][0-9]{0,8}$")]},
        "label": _T,
    },
    oneOf=[{"required": ["prompt"]}, {"anyOf": [{"required": ["messages"]}, {"required": ["template"]}]}],
    dependentRequired={name: ["template"] for name in ("variables", "version", "label")},
)
_OF_CONFIG: Mapping[str, Schema] = {
    "name": text(said="GET /models lists them; there is a default"),
    "provider": text(said="refused where it is not the model's"),
}
EXECUTE_LLM = asked(
    {"input_data": _LLM_INPUT},
    {
        "model_config": asked(
            {},
            {
                **_OF_CONFIG,
                "parameters": maybe(ref("LlmParameters")),
                "version": ANY,
                "alias": ANY,
                "selection": maybe(SELECTION),
            },
        )
    },
)
EXECUTE_ML = asked(
    {
        "input_data": asked(
            {},
            {
                "features": {"description": "one row: an object by the features' names; or a list of such"},
                "rows": {"description": "rows: lists of numbers, in the order of the features"},
                "series": many(NUMBER, said="oldest first"),
                "horizon": whole(1),
            },
            **one_field_of("features", "rows", "series"),
            description="GET /models/{name} says what the model takes",
        )
    },
    {
        "model_config": asked(
            {},
            {
                **_OF_CONFIG,
                "parameters": maybe(asked({}, {"explain": {"type": "boolean", "default": True}})),
                "version": maybe(VERSION),
                "alias": _T,
            },
        )
    },
)
COUNT_TOKENS = asked(
    {"model": text(1)},
    {
        "text": text(said="counted bare, without the frame of a turn"),
        "messages": _LLM_MESSAGES,
        "optimise": text(said="as the header x-gateway-optimise; needs messages"),
    },
    **one_field_of("text", "messages"),
)
FEEDBACK = asked(
    {},
    {
        "request_id": text(1, 200, said="x-request-id of the answer; this or entry_id"),
        "entry_id": text(1, 200, said="the call's entry in the ledger"),
        "score": number(0, 1, said="this or thumbs"),
        "thumbs": one_of(("up", "down")),
        "comment": text(longest=2000),
    },
    allOf=[one_field_of("request_id", "entry_id"), one_field_of("score", "thumbs")],
)

COMPONENTS: Mapping[str, Schema] = {
    "Usage": told(
        {
            "prompt_tokens": COUNT,
            "completion_tokens": COUNT,
            "cached_tokens": COUNT,
            "reasoning_tokens": COUNT,
            "total_tokens": COUNT,
            "basis": one_of(get_args(UsageBasis), said="who counted"),
        }
    ),
    "LlmResult": told(
        {
            "response": _T,
            "model": _T,
            "provider": _T,
            "upstream_model": _T,
            "usage": ref("Usage"),
            "tokens_used": COUNT,
            "cost": USD,
            "finish_reason": one_of(get_args(FinishReason)),
            "request_id": _T,
            "config_epoch": _T,
        },
        {
            "prompt": told({"id": _T, "version": VERSION}),
            "responses": many(_T),
            "dropped_params": many(_T),
        },
    ),
    "MlResult": told(
        {
            "model": _T,
            "version": VERSION,
            "type": one_of(get_args(Family)),
            "provider": _T,
            "predictions": many(_PREDICTION),
            "cost": USD,
            "inference_time": {"type": "number", "description": "seconds"},
            "request_id": _T,
            "config_epoch": _T,
        }
    ),
    "Model": told(
        {
            "name": _T,
            "type": _T,
            "provider": _T,
            "upstream_model": _T,
            "description": _T,
            "configured": {"type": "boolean", "description": "whether its provider has its key"},
            "parameters": FREE,
        },
        {
            "missing": many(_T, said="what its provider lacks"),
            "context_window": maybe(COUNT),
            "max_output_tokens": maybe(COUNT),
            "quality": maybe(NUMBER),
            "capabilities": many(one_of(CAPABILITIES)),
            "ready": TRUTH,
            "version": maybe(VERSION),
            "metrics": by_name(_FLOATS),
            "schema": maybe(_INPUT_SCHEMA),
            "versions": many(_MODEL_VERSION),
        },
    ),
    "Alias": told(
        {
            "model": _T,
            "alias": _T,
            "version": VERSION,
            "previous": maybe(VERSION),
            "updated_by": _T,
            "updated_at": TIME,
        }
    ),
    "Route": told(
        {
            "model": _T,
            "strategy": _T,
            "config_epoch": _T,
            "plan": many(
                told(
                    {
                        "model": _T,
                        "provider": _T,
                        "configured": TRUTH,
                        "reason": _T,
                        "healthy": TRUTH,
                        "failures": COUNT,
                        "calls_under_way": COUNT,
                        "latency_seconds": maybe(NUMBER),
                    }
                )
            ),
        },
        {"selection": FREE},
    ),
    "NewPrompt": asked(
        {"name": text(1, 100, like=PROMPT_NAME)},
        {
            "template": text(1, LONGEST_TEMPLATE),
            "messages": many(_TURN, 1, 100),
            "variables": maybe(by_name(_VARIABLE, said="what it takes, by name")),
            "defaults": maybe(
                asked({}, {"model": text(longest=200), "parameters": ref("LlmParameters"), "response_format": _FORM})
            ),
            "comment": text(longest=1000),
        },
        **one_field_of("template", "messages"),
    ),
    "PromptVersion": told(_VIEW_OF_PROMPT, _ONE_FORM),
    "ListedPrompt": told({**_VIEW_OF_PROMPT, "labels": by_name(_TARGETS)}, _ONE_FORM),
    "Prompt": told(
        {
            **_VIEW_OF_PROMPT,
            "labels": by_name(_TARGETS),
            "versions": many(
                told(
                    {
                        "version": VERSION,
                        "comment": _T,
                        "hash": _T,
                        "created_by": _T,
                        "created_at": TIME,
                        "labels": many(_T),
                    }
                )
            ),
        },
        _ONE_FORM,
    ),
    "LabelMove": told(_MOVE),
    "Label": told({**_MOVE, "history": many(ref("LabelMove"), said="newest first")}),
    "PriceCard": told(
        {"name": _T, "source": _T, "currency": one_of(("USD",))},
        {
            **_RATES,
            "per_call": USD,
            "per_second": USD,
            "per_row": USD,
            "per_web_search": USD,
            "tiers": many(told({"above_input_tokens": COUNT}, _RATES)),
        },
    ),
}
