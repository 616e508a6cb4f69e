"""What is found in texts, and that a text cut into pieces in any way gives what the whole gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.governance.check_digits import is_aadhaar, is_card, is_iban
from gateway.governance.credentials import CredentialFinder
from gateway.governance.pii import PiiFinder
from gateway.governance.placeholders import Restorer, Vault
from gateway.governance.spans import Cleaner, Finder, replaced
from gateway.models.guard_kinds import CREDENTIALS, PERSONAL_DATA

PII = PiiFinder(terms=["Ada Lovelace", "Falcon", "Zoë"])
KEYS = CredentialFinder()
PEM = f"-----BEGIN RSA PRIVATE KEY-----\nMIIE{'Ab3/' * 20}\n{'Zz9+' * 16}\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"


def name(kind: str, _value: str) -> str:
    return f"<{kind}>"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("mail john.doe+x@mail.example.co.uk now", "mail <email> now"),
        ("<john@x.com>, mailto:a@b.org.", "<<email>>, mailto:<email>."),
        ("DE89 3704 0044 0532 0130 00 EUR; GB82WEST12345698765432", "<iban> EUR; <iban>"),
        ("BE68 5390 0754 7034 THEN MORE", "<iban> THEN MORE"),
        ("4111 1111 1111 1111, 5500-0000-0000-0004", "<card>, <card>"),
        ("378282246310005, 3782 822463 10005", "<card>, <card>"),
        ("2341 2341 2346", "<aadhaar>"),
        ("ssn 123-45-6789", "ssn <ssn>"),
        ("AB 12 34 56 C and AB123456C", "<nino> and <nino>"),
        ("PAN ABCPD1234F", "PAN <pan>"),
        ("+49 30 1234567, +1 (212) 555-0123, (212) 555-0123, 415-555-0100", "<phone>, <phone>, <phone>, <phone>"),
        ("Tel.: 030 1234567", "Tel.: <phone>"),
        ("10.0.0.1, 2001:db8::1 and fe80::1:", "<ip>, <ip> and <ip>:"),
        ("born on 12.03.1980; DOB 1980-03-12", "born on <birth_date>; DOB <birth_date>"),
        ("date of birth: March 3, 1980", "date of birth: <birth_date>"),
        ("ADA LOVELACE likes falconry, Falcon, zoë", "<term> likes falconry, <term>, <term>"),
    ],
)  # fmt: skip
def test_personal_data(text: str, clean: str) -> None:
    assert replaced(PII, text, name) == clean


@pytest.mark.parametrize(
    "text",
    [
        "It was 12:30:45 on 2024-01-02 and cost 1,234,567.89 or 0.4111111111111111.",
        "4111 1111 1111 1112 has the wrong check digit, DE89 3704 0044 0532 0130 01 too.",
        "000-12-3456 and 666-12-3456 and 123-00-4567 are no numbers of anybody.",
        "Version 1.2.3.4.5, dead:beef, a@b, @home, x@y.z, std::vector, GB 12 34 56 C",
        "0000 0000 0000 0000",
        "She was born in 1980, in March.",
    ],
)
def test_what_only_looks_like_it(text: str) -> None:
    assert replaced(PII, text, name) == text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"key sk-proj-{'ab1' * 8} ok", "key <api_key> ok"),
        (f"{PEM} tail", "<private_key> tail"),
        ("ghp_" + "a1B2" * 9, "<token>"),
        (f"jwt {JWT}.", "jwt <token>."),
        ("AKIAABCDEFGHIJKLMNOP!", "<cloud>!"),
        ("AccountName=a;AccountKey=" + "Ab3/" * 12 + "==;", "AccountName=a;AccountKey=<cloud>;"),
        ("Authorization: Bearer abcdefghijklmnop123", "Authorization: Bearer <bearer>"),
        ("postgres://u:hunter2@db/x", "postgres://u:<url_password>@db/x"),
        ("DB_PASSWORD=hunter2hunter; api_key: 'abc123def456'", "DB_PASSWORD=<assigned>; api_key: '<assigned>'"),
        ("max_tokens: 1000, the token: of thanks, sk-short", "max_tokens: 1000, the token: of thanks, sk-short"),
    ],
)  # fmt: skip
def test_credentials(text: str, clean: str) -> None:
    assert replaced(KEYS, text, name) == clean


def test_only_the_kinds_that_are_asked_for() -> None:
    text = "a@b.example 10.0.0.1"
    assert replaced(PiiFinder(["ip"]), text, name) == "a@b.example <ip>"
    assert replaced(PiiFinder(PERSONAL_DATA), text, name) == "<email> <ip>"
    assert replaced(CredentialFinder(["cloud"]), "AKIAABCDEFGHIJKLMNOP " + JWT, name) == "<cloud> " + JWT
    assert len(CREDENTIALS) == 7


@given(st.integers(0, 10**11 - 1), st.integers(1, 9))
def test_a_check_digit_catches_every_wrong_digit(number: int, off: int) -> None:
    for good, check in ((f"{number:011d}", is_aadhaar), (f"4{number:014d}", is_card)):
        (whole,) = [good + str(digit) for digit in range(10) if check(good + str(digit))]
        wrong = whole[:4] + str((int(whole[4]) + off) % 10) + whole[5:]
        assert not check(wrong)
    assert is_iban("GB82WEST12345698765432")
    assert not is_iban("GB82WEST1234569876543")


# -- pieces ---------------------------------------------------------------------------------------

_PII_BITS = [
    "john@x.com", "a@b.co", "@", ".", "DE89 3704 0044 0532 0130 00", " ", "4111 1111 1111 1111", "123-45-6789",
    "4111111111111111", "AB 12 34 56 C", "+49 30 1234567", "10.0.0.1", "2001:db8::1", "born on ", "12.03.1980",
    "3 March 1980", "tel: ", "Ada Lovelace", "Falcon", "Zo", "ë", "-", "x", "1", "EUR", "\n", ":", "d.o.b. ",
    "(212) 555-0123", "ABCPD1234F", "9", "a" * 70, "2341 2341 2346",
]  # fmt: skip
_KEY_BITS = [
    "sk-" + "a1" * 11, "-----BEGIN ", "RSA ", "PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", "MIIE" * 11, " ",
    "-----END X-----", "\n", "password", "=", ": ", "'", '"', "hunter2hunter", "Bearer ", "abcdefghijklmnop1", "/",
    "://u:pw@h", "eyJhbGciOiJI.", "eyJzdWIiOiJhIn0.", "c2ln", "ghp_" + "a1B2" * 9, "AKIAABCDEFGHIJKLMNOP", "api_",
    "key", "-", "x", "--", "@", ";", "AccountKey=",
]  # fmt: skip


def texts(bits: list[str], alphabet: str) -> st.SearchStrategy[str]:
    either = st.one_of(st.sampled_from(bits), st.text(alphabet=alphabet, max_size=4))
    return st.lists(either, max_size=8).map("".join)


def cut(text: str, at: list[int]) -> list[str]:
    places = [0, *sorted(min(place, len(text)) for place in at), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def streamed(push: Callable[..., str], pieces: list[str]) -> str:
    return "".join([*(push(piece) for piece in pieces), push("", last=True)])


def check_pieces(finder: Finder, text: str, at: list[int]) -> None:
    whole = replaced(finder, text, name)
    assert streamed(Cleaner(finder, name).push, cut(text, at)) == whole
    assert streamed(Cleaner(finder, name).push, list(text)) == whole


CUTS = st.lists(st.integers(0, 200), max_size=10)


@settings(max_examples=500, deadline=None)
@given(texts(_PII_BITS, "aA1 .@-+:(bB9ſİ"), CUTS)
def test_redacted_in_pieces_is_redacted_whole(text: str, at: list[int]) -> None:
    check_pieces(PII, text, at)


@settings(max_examples=500, deadline=None)
@given(texts(_KEY_BITS, "aA1 -=:'@/."), CUTS)
def test_credentials_in_pieces_are_those_of_the_whole(text: str, at: list[int]) -> None:
    check_pieces(KEYS, text, at)


def test_prose_is_held_back_by_a_word_only() -> None:
    cleaner = Cleaner(PII, name)
    assert cleaner.push("The quick brown fox jumps over the lazy dog") == "The quick brown fox jumps over the lazy "


VALUES = {"[EMAIL_1]": "a@b.example", "[EMAIL_10]": 'x"y\n', "[TERM_2]": "[EMAIL_1]", "[CARD_1]": ""}


@settings(max_examples=500, deadline=None)
@given(texts([*VALUES, "[", "[EMAIL_", "1]", "]", "[EMAIL_3]"], "[EMAIL_10] x"), CUTS, st.booleans())
def test_restored_in_pieces_is_restored_whole(text: str, at: list[int], escaped: bool) -> None:
    restorer = Restorer(VALUES)
    whole = re.sub(
        r"\[(?:EMAIL_1|EMAIL_10|TERM_2|CARD_1)\]",
        lambda match: (
            VALUES[match.group()].replace("\n", "\\n").replace('"', '\\"') if escaped else VALUES[match.group()]
        ),
        text,
    )
    assert restorer.whole(text, escaped=escaped) == whole
    for pieces in (cut(text, at), list(text)):
        channel, told, given_so_far = restorer.channel(escaped=escaped), "", 0
        for piece in pieces:
            told += channel.push(piece)
            given_so_far += len(piece)
            assert len(restorer.whole(text[:given_so_far], escaped=escaped)) - len(told) < max(map(len, VALUES)) + 6
        assert told + channel.push("", last=True) == whole


def test_numbers_follow_the_conversation_and_spare_what_the_caller_wrote() -> None:
    vault = Vault(["say [EMAIL_1] to a@x.example"])
    assert vault.name("email", "a@x.example", at=0, restore=True) == "[EMAIL_2]"
    assert vault.name("email", "b@x.example", at=1, restore=False) == "[EMAIL_3]"
    assert vault.name("email", "a@x.example", at=2, restore=True) == "[EMAIL_2]"
    assert vault.values() == {"[EMAIL_2]": "a@x.example"}
    assert vault.known_before("a@x.example b@x.example", 1) == "[EMAIL_2] b@x.example"
    vault.name("birth_date", "12.03.1980", at=0, restore=True)
    assert vault.sweep("12.03.1980, not 112.03.1980") == "[BIRTH_DATE_1], not 112.03.1980"
