"""Writes the pages that are made from the code: ``.venv/bin/python tools/docs.py``; ``--check`` compares."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from gateway import errors  # noqa: E402 - works without an installation

ERRORS = ROOT / "docs" / "guide" / "errors.md"
_HEAD = """\
<!-- Made by tools/docs.py from src/gateway/errors.py: change it there. -->
# Errors

Every refusal and failure has a stable `code`, an HTTP status, a message that says what is wrong, and
where there is one, a *mend*: how to put it right. Programs decide by the code; messages may change.

| Door | Shape |
|---|---|
| `/v1/*` as OpenAI speaks | `{"error": {"message", "type", "param", "code"}}` |
| `/v1/messages` as Anthropic speaks | `{"type": "error", "error": {"type", "message"}, "request_id"}` |
| every other | `application/problem+json` with `type`, `title`, `status`, `detail`, `code`, `request_id` |

*Again?* says whether the same request, sent later, can succeed by itself. A step of a workflow is tried
again for such codes, and for those that its `retry.on` names.

| Code | Status | Again? | Meaning |
|---|--:|---|---|
"""

_TAIL = """
## Of steps and runs

Some ends of a step or run are no answer of a door. They have a code too, in `error` of the step and of the run:

| Code | Again? | Meaning |
|---|---|---|
| `step_failed` | yes | The step's function raised an error that is none of the above; its type and place are told. |
| `worker_lost` | yes | The worker died or went silent; after the fifth time the step has failed. |
| `run_timeout` | no | The run passed its `timeout`. |
| `run_cancelled` | no | The run that is done as this step was cancelled by itself. |
| `approval_refused`, `approval_expired` | no | Somebody refused, or nobody said a word in time. |
| `signal_timeout` | no | The signal did not come in time. |
"""


def error_classes() -> list[type[errors.GatewayError]]:
    """Every error of the house that has a code of its own, in the order of the file."""
    found = [value for value in vars(errors).values() if isinstance(value, type) and "code" in vars(value)]
    return [value for value in found if issubclass(value, errors.GatewayError)]


def errors_page() -> str:
    """``docs/guide/errors.md`` as it should be."""
    rows = []
    for kind in error_classes():
        meaning = (kind.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")
        rows.append(f"| `{kind.code}` | {kind.status} | {'yes' if kind.retryable else 'no'} | {meaning} |\n")
    return _HEAD + "".join(rows) + _TAIL


def main(arguments: list[str]) -> int:
    """Writes the pages, or with ``--check`` returns 1 where one is out of date."""
    wanted = errors_page()
    if "--check" in arguments:
        return 0 if ERRORS.is_file() and ERRORS.read_text(encoding="utf-8") == wanted else 1
    ERRORS.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
