"""The doors under ``/v2``, in the dialect of the Open Inference Protocol."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.api.described.door import Described, DescribedDoors
from gateway.api.described.shapes import ANY, FREE, TRUTH, Schema, asked, many, ref, text, told, whole

_T = text()
_META = many(told({"name": _T, "datatype": _T, "shape": many({"type": "integer"})}))
_READY = told({"name": _T, "ready": TRUTH})
_NAMED, _VERSIONED = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
_ANSWER: Mapping[str, Schema] = {
    "name": _T,
    "shape": many(whole(0)),
    "datatype": _T,
    "data": many(ANY),
}

COMPONENTS: Mapping[str, Schema] = {
    "InferenceError": told({"error": _T, "code": _T, "request_id": _T}, said="an error in this protocol's shape"),
    "InferenceModel": told({"name": _T, "versions": many(_T), "platform": _T, "inputs": _META, "outputs": _META}),
    "InferenceRequest": asked(
        {
            "inputs": many(
                asked(
                    {"name": _T, "shape": many(whole(1), 1, 2), "datatype": _T, "data": {"type": "array"}},
                    {"parameters": FREE},
                ),
                1,
            )
        },
        {
            "id": text(longest=200),
            "parameters": FREE,
            "outputs": many(asked({"name": _T}, {"parameters": FREE})),
        },
    ),
    "InferenceAnswer": told(
        {
            "model_name": _T,
            "model_version": _T,
            "id": _T,
            "parameters": FREE,
            "outputs": many(told(_ANSWER, {"parameters": FREE})),
        }
    ),
}

DOORS: DescribedDoors = {
    ("GET", "/v2"): Described(tag="Inference", answer=told({"name": _T, "version": _T, "extensions": many(_T)})),
    ("GET", "/v2/health/live"): Described(tag="Inference", answer=told({"live": TRUTH})),
    ("GET", "/v2/health/ready"): Described(tag="Inference", answer=told({"ready": TRUTH}), also=503),
}
for _path in (_NAMED, _VERSIONED):
    DOORS = {
        **DOORS,
        ("GET", _path): Described(tag="Inference", answer=ref("InferenceModel"), errors=(400,)),
        ("GET", f"{_path}/ready"): Described(tag="Inference", answer=_READY, also=503, errors=(400,)),
        ("POST", f"{_path}/infer"): Described(
            tag="Inference", body=ref("InferenceRequest"), answer=ref("InferenceAnswer"), once=True, calls=True
        ),
    }
