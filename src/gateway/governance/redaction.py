"""Personal data in text: found by shape and checksum, replaced by its kind. For logs and records."""

from __future__ import annotations

import re

_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_CARD = re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")


def redact(text: str) -> str:
    """The text with e-mail addresses, payment card numbers (Luhn) and IBANs (mod 97) replaced."""
    text = _EMAIL.sub("[e-mail]", text)
    text = _IBAN.sub(lambda match: "[iban]" if _is_iban(match.group(0)) else match.group(0), text)
    return _CARD.sub(lambda match: "[card]" if _is_card(match.group(0)) else match.group(0), text)


def _is_card(text: str) -> bool:
    digits = [int(character) for character in text if character.isdigit()]
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1
