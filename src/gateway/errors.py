"""Every refusal and failure that this house can speak of.

An error knows its HTTP status, its stable ``code`` and whether a retry can mend it; the doors only
choose the dialect it is written in (``api/errors.py``). The message says what is wrong, ``mend``
says how to put it right. Neither ever holds a secret or echoes a caller's input at length.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GatewayError(Exception):
    """The gateway could not do what was asked."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    #: True where the same request, sent again later, can succeed.
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str | None = None,
        *,
        mend: str = "",
        param: str | None = None,
        retry_after: float | None = None,
        **details: Any,
    ) -> None:
        """``param`` is the path of the offending field; ``retry_after`` is in seconds; ``details``
        are JSON values a program may read (limits, known names, …)."""
        self.message = message or (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.mend = mend
        self.param = param
        self.retry_after = retry_after
        self.details = details
        super().__init__(self.message)


# -- the request is wrong -------------------------------------------------------------------------


class BadRequest(GatewayError):
    """The request could not be read."""

    status, code = 400, "bad_request"


class ValidationFailed(GatewayError):
    """A field of the request is missing, unknown, or of the wrong type or range."""

    status, code = 422, "validation_failed"


class UnknownTaskType(ValidationFailed):
    """No such task type."""

    code = "unknown_task_type"


class DefinitionInvalid(ValidationFailed):
    """The workflow definition cannot run as written."""

    code = "definition_invalid"


class NotSupported(GatewayError):
    """The chosen model or provider cannot do what the request asks."""

    status, code = 400, "not_supported"


class NoModelFits(GatewayError):
    """No model that may be chosen can serve this request within its limits."""

    status, code = 422, "no_model_fits"


class NotFound(GatewayError):
    """Nothing of that name is here for you."""

    status, code = 404, "not_found"


class ModelNotFound(NotFound):
    """No such model."""

    code = "model_not_found"


class MethodNotAllowed(GatewayError):
    """This path does not take that method."""

    status, code = 405, "method_not_allowed"


class Conflict(GatewayError):
    """The thing is not in a state that allows this."""

    status, code = 409, "conflict"


class StillRunning(Conflict):
    """A request with this Idempotency-Key is still running."""

    code, retryable = "still_running", True


class IdempotencyMismatch(GatewayError):
    """This Idempotency-Key was used with another body, or at another path."""

    status, code = 422, "idempotency_mismatch"


class BodyTooLarge(GatewayError):
    """The request body is larger than this door takes."""

    status, code = 413, "body_too_large"


class UnsupportedMediaType(GatewayError):
    """This door reads application/json."""

    status, code = 415, "unsupported_media_type"


# -- the caller may not ---------------------------------------------------------------------------


class NotAuthenticated(GatewayError):
    """No valid credential came with the request."""

    status, code = 401, "not_authenticated"


class PermissionDenied(GatewayError):
    """Your role does not allow this."""

    status, code = 403, "permission_denied"


class BudgetExceeded(GatewayError):
    """A budget does not cover the worst case of this call."""

    status, code = 402, "budget_exceeded"


class PriceUnknown(GatewayError):
    """The price of this model is unknown, so the call is refused rather than counted as free."""

    status, code = 422, "price_unknown"


class RateLimited(GatewayError):
    """A limit of your key, user or team, or of the model, is reached; `details` name which, and whose."""

    status, code, retryable = 429, "rate_limited", True


class GuardBlocked(GatewayError):
    """A guard of this model does not let the request, or its answer, pass."""

    status, code = 400, "guard_blocked"


class EgressDenied(GatewayError):
    """That address may not be called from here."""

    status, code = 422, "egress_denied"


# -- an upstream failed ---------------------------------------------------------------------------


class UpstreamError(GatewayError):
    """The provider answered with an error, or with what is no answer."""

    status, code, retryable = 502, "upstream_error", True


class UpstreamMalformed(UpstreamError):
    """An ``upstream_error``: what the provider answered with a good status is no answer."""


class UpstreamRejected(UpstreamError):
    """The provider refused the request."""

    status, code, retryable = 400, "upstream_rejected", False


class UpstreamAccountRefused(UpstreamError):
    """The provider refused the gateway's own credential or account."""

    status, code, retryable = 502, "upstream_account_refused", False


class UpstreamRateLimited(UpstreamError):
    """The provider is limiting our requests."""

    status, code, retryable = 429, "upstream_rate_limited", True


class UpstreamUnavailable(UpstreamError):
    """The provider could not be reached."""

    status, code, retryable = 502, "upstream_unavailable", True


class UpstreamTimeout(UpstreamError):
    """The provider did not answer in time."""

    status, code, retryable = 504, "upstream_timeout", True


class UpstreamOverloaded(UpstreamError):
    """The provider is overloaded."""

    status, code, retryable = 503, "upstream_overloaded", True


class StreamIncomplete(UpstreamError):
    """The provider's stream stopped without a finish reason."""

    code = "stream_incomplete"


class ContextTooLong(UpstreamRejected):
    """The prompt is longer than the model's context."""

    code = "context_too_long"


class ContentRefused(UpstreamRejected):
    """The provider refused the content."""

    code = "content_refused"


class ProviderNotConfigured(GatewayError):
    """The provider of this model has no credential here."""

    status, code = 503, "provider_not_configured"


# -- this house cannot, now or yet ----------------------------------------------------------------


class ModelNotReady(GatewayError):
    """The model is not trained or loaded yet."""

    status, code, retryable = 503, "model_not_ready", True


class Unavailable(GatewayError):
    """A part this request needs is down."""

    status, code, retryable = 503, "unavailable", True


class NotBuilt(GatewayError):
    """This is not built."""

    status, code = 501, "not_built"


class ConfigurationInvalid(GatewayError):
    """A configuration file or environment variable is wrong."""

    code = "configuration_invalid"


# -- inside the engine ----------------------------------------------------------------------------


class StepFailed(GatewayError):
    """A step could not do its work."""

    status, code = 500, "step_failed"


class OutcomeUnknown(GatewayError):
    """A worker died with a call of the step on its way: nobody knows whether it was answered, and paid."""

    status, code = 409, "call_outcome_unknown"


class StepCancelled(GatewayError):
    """The step was cancelled while it ran."""

    status, code = 409, "step_cancelled"


class StepTimeout(GatewayError):
    """The step ran longer than its timeout."""

    status, code = 504, "step_timeout"


class ArtifactCorrupt(GatewayError):
    """A stored artifact does not have the hash it was stored under, or is gone."""

    code = "artifact_corrupt"
