"""Personal data in text: found by shape and checksum, replaced by its kind. For logs and records."""

from __future__ import annotations

import re

from gateway.governance.check_digits import is_card, is_iban

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")


def redact(text: str) -> str:
    """The text with e-mail addresses, payment card numbers (Luhn) and IBANs (mod 97) replaced."""
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(lambda match: "[iban]" if is_iban(match.group(0)) else match.group(0), text)
    return _CARD.sub(lambda match: "[card]" if is_card(match.group(0)) else match.group(0), text)
