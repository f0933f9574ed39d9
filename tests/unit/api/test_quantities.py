"""Quantities, against a model of plain fractions."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pierhead.api.quantities import MOST, NANO, canonical, parse

FORM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0", "0"), ("0.5", "500m"), ("1", "1"), ("100m", "100m"), ("2000m", "2"), ("1500", "1500"), ("1000", "1k"), ("1e3", "1e3"),
     ("1000e0", "1e3"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1023Ki", "1023Ki"), ("1025", "1025"), ("512", "512"), ("0.1n", "1n"),
     ("-1.5Ki", "-1536"), (".5", "500m"), ("1.", "1"), ("+5k", "5k"), ("0Gi", "0"), ("5u", "5u"), ("0.001Ki", "1024m"),
     ("99999999999999999999", "9223372036854775807"), ("1e999999", "9223372036854775807"), ("1e-99", "1e-9")],
)  # fmt: skip
def test_the_canonical_form(text: str, shown: str) -> None:
    assert canonical(text) == shown


def test_json_numbers_are_quantities_too() -> None:
    assert (canonical(1), canonical(0.5)) == ("1", "500m")


@pytest.mark.parametrize(
    ("text", "why"),
    [("", FORM), ("x", FORM), (".", FORM), ("--1", FORM), ("1 G", FORM), ("1Z", FORM), ("1ki", "unable to parse quantity's suffix"),
     ("1e", "unable to parse quantity's suffix"), ("9" * 5000, "unable to parse numeric part of quantity")],
)  # fmt: skip
def test_what_is_no_quantity(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="quantit") as failure:
        parse(text)
    assert str(failure.value) == why


SUFFIXES: dict[str, Fraction | int] = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "Ki": 2**10,
    "Mi": 2**20,
    "m": Fraction(1, 10**3),
    "n": Fraction(1, 10**9),
    "e2": 100,
}


@given(st.integers(-(10**6), 10**6), st.sampled_from(sorted(SUFFIXES)))
def test_the_amount_is_the_number_times_its_suffix(number: int, suffix: str) -> None:
    assert parse(f"{number}{suffix}").nano == number * SUFFIXES[suffix] * NANO


@given(st.decimals(-1000, 1000, places=12), st.sampled_from(sorted(SUFFIXES)))
def test_what_is_finer_than_a_billionth_is_rounded_away_from_zero(number: Decimal, suffix: str) -> None:
    text = f"{number:f}{suffix}"
    exact = Fraction(str(number)) * SUFFIXES[suffix] * NANO
    assert abs(exact) <= abs(parse(text).nano) < abs(exact) + 1


@given(st.from_regex(r"[0-9]{1,20}(\.[0-9]{1,10})?(m|u|n|k|M|G|Ki|Mi|Gi|e[0-9]|e-[0-9])?", fullmatch=True))
def test_the_canonical_form_means_the_same_and_is_its_own(text: str) -> None:
    found = parse(text)
    assert parse(str(found)).nano == found.nano <= MOST
    assert canonical(str(found)) == str(found)


@given(st.text("0123456789.eEikKmn+-", max_size=8))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse(text)
    except ValueError as error:
        assert "quantit" in str(error)  # noqa: PT017 the text is the product
