"""Numbers that prove themselves: the check digits of cards, accounts and national identities."""

from __future__ import annotations

#: The multiplication of the dihedral group D5, and the permutation of each place, as Verhoeff has them.
_TIMES = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PLACES = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def is_card(text: str) -> bool:
    """A payment card number of 13 to 19 digits, by Luhn."""
    digits = "".join(character for character in text if character.isdigit())
    if not 13 <= len(digits) <= 19 or digits.count(digits[0]) == len(digits):
        return False
    doubled = (digit * 2 - 9 if digit > 4 else digit * 2 for digit in map(int, digits[-2::-2]))
    return (sum(map(int, digits[::-2])) + sum(doubled)) % 10 == 0


def is_iban(text: str) -> bool:
    """An account number of 15 to 34 characters, by mod 97."""
    plain = text.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def is_aadhaar(text: str) -> bool:
    """Twelve digits, the last by Verhoeff."""
    digits = [int(character) for character in text if character.isdigit()]
    check = 0
    for at, digit in enumerate(reversed(digits)):
        check = int(_TIMES[check][int(_PLACES[at % 8][digit])])
    return len(digits) == 12 and check == 0
