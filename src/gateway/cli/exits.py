"""Exit statuses: documented, so that scripts can tell one failure from another."""

from __future__ import annotations

from gateway.errors import (
    BudgetExceeded,
    ConfigurationInvalid,
    GatewayError,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
    Unavailable,
    ValidationFailed,
)

#: Status by kind of error; anything else is 1. 2 is Typer's own, for wrong usage.
EXITS: tuple[tuple[type[GatewayError], int], ...] = (
    (ConfigurationInvalid, 3),
    (NotAuthenticated, 4),
    (PermissionDenied, 4),
    (NotFound, 5),
    (ValidationFailed, 6),
    (BudgetExceeded, 7),
    (RateLimited, 7),
    (Unavailable, 8),
)
#: The command worked, what it followed did not: a failed run, a broken chain.
FOLLOWED_FAILED = 10


def exit_code_for(error: GatewayError) -> int:
    """The exit status of an error."""
    return next((status for kind, status in EXITS if isinstance(error, kind)), 1)
