"""Events for hypothesis: of everything that Python has, and of what JSON can say."""

from __future__ import annotations

import decimal
import types

from hypothesis import strategies as st

from support.odd_values import Calm, Colour, Number, Order, Real, Text, View, Whole

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Ll", "Cc"])),
    st.binary(max_size=20),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.decimals(),
    st.fractions(),
    st.uuids(),
    st.complex_numbers(),
    st.sampled_from([Colour.RED, Number.ONE, Calm(), Text("t"), Whole(1), Real("inf"), ValueError("v")]),
)
keys = st.one_of(scalars.filter(lambda value: not isinstance(value, decimal.Decimal)), st.tuples(st.integers()))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(keys, inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=4).map(types.MappingProxyType),
        st.dictionaries(st.text(), inner, max_size=4).map(lambda items: View(*items.items())),
        st.builds(Order, st.integers(), st.lists(inner, max_size=2)),
        st.sets(st.integers() | st.text(), max_size=4),
    ),
    max_leaves=20,
)
hostile_events = st.dictionaries(keys, values, max_size=5)

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=30,
)
