from __future__ import annotations

from datetime import UTC, datetime

import pytest
from graphql import GraphQLError
from hypothesis import given, strategies as st

from amparo_gateway.schema.scalars import DATE_TIME


@given(moment=st.datetimes(timezones=st.timezones()).filter(lambda at: at.year > 1))
def test_a_moment_is_written_in_utc_and_read_back_to_the_millisecond(moment):
    try:
        text = DATE_TIME.serialize(moment)
    except OverflowError:
        return  # the last day of year 9999 has no UTC everywhere
    assert text.endswith("Z")
    assert abs(DATE_TIME.parse_value(text) - moment.astimezone(UTC)).total_seconds() < 0.001


@pytest.mark.parametrize("text", ["2026-03-01T08:30:00Z", "2026-03-01t10:30:00+02:00", "2026-03-01T08:30:00.000+00:00"])
def test_a_moment_may_come_in_any_zone(text):
    assert DATE_TIME.parse_value(text) == datetime(2026, 3, 1, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "value", ["", "2026-03-01", "2026-03-01T08:30:00", "yesterday", 5, None, True, ["2026-03-01T08:30:00Z"], "9" * 500]
)
def test_what_is_no_moment_is_refused_without_being_repeated(value):
    with pytest.raises(GraphQLError) as refused:
        DATE_TIME.parse_value(value)
    assert "yesterday" not in refused.value.message
