"""YAML as a person reads it: values, and everything that is refused with a line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidSpec
from harness.files.strict_yaml import LARGEST_BYTES, LARGEST_DEPTH, dump, parse, read_file

TEXT = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("0o10", 8),
        ("0x10", 16),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("-3", -3),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("true", True),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("'1_000'", "1_000"),
        ("[a, b]", ["a", "b"]),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("base: &b {x: 1}\nmore: {<<: *b, y: 2}", {"base": {"x": 1}, "more": {"x": 1, "y": 2}}),
    ],
)
def test_values(text, value):
    read = parse(text, "text")
    assert read == value
    assert type(read) is type(value)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcde", "bcdef", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", r"key 'a' appears twice \(line 3\)"),
        ("{a: 1, a: 2}", "key 'a' appears twice"),
        ("x:\n  a: 1\n  a: 2", "key 'a' appears twice"),
        ("1_000", "number in some versions"),
        ("0b11", "number in some versions"),
        ("a: " + "9" * 5000, r"a number of 5,000 characters \(line 1\)"),
        (".nan", "not a finite number"),
        ("a: [-.inf]", "not a finite number"),
        ("1e999", "not a finite number"),
        ("1: 2", "keys are text"),
        ("true: 2", "keys are text"),
        ("? [a]\n: 1", "keys are text"),
        ("2024-01-01", "quote it"),
        ("!!binary aGk=", "quote it"),
        ("!!set {a, b}", "is a set"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("!own 3", "could not determine a constructor"),
        ("%YAML 1.1\n---\na: 1", "only 1.2"),
        ("a: 1\n---\nb: 2", r"several YAML documents \(line 2\)"),
        ("a: &s [1, *s]", "inside what it names"),
        ("a: *nowhere", "names nothing above it"),
        (BOMB, "aliases are written out"),
        ("[" * 3000 + "]" * 3000, "nested more than"),
        ("a:\n\tb: 1", "line 2"),
        ("a: [", "line 1"),
        ("a: 'x", "line 1"),
        ("\x00", "special characters"),
    ],
)
def test_refusals(text, message):
    with pytest.raises(InvalidSpec, match=message) as caught:
        parse(text, "the text")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("the text")


def test_depth_is_bounded_where_it_says():
    assert parse("[" * LARGEST_DEPTH + "]" * LARGEST_DEPTH, "text")
    with pytest.raises(InvalidSpec):
        parse("[" * (LARGEST_DEPTH + 1) + "]" * (LARGEST_DEPTH + 1), "text")


@given(PLAIN)
def test_what_is_written_is_read_back(value):
    text = dump({"value": value})
    try:
        assert parse(text, "text") == {"value": value}
    except InvalidSpec as error:  # a string that looks like the number of another YAML is never written bare
        raise AssertionError(text) from error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got nothing"),
        (b"# only a comment\n", "got nothing"),
        (b"- a\n", "got a list"),
        (b"text", "got text"),
        (b"\xff\xfea", "not UTF-8"),
        (b"a: " + b"x" * LARGEST_BYTES, "larger than"),
    ],
)
def test_files_that_hold_no_mapping(tmp_path, content, message):
    path = tmp_path / "e.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidSpec, match=message):
        read_file(path)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: e\n")
    assert read_file(path) == {"name": "e"}
    with pytest.raises(InvalidSpec, match="cannot read"):
        read_file(tmp_path)
