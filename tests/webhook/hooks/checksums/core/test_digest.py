"""The checksum, held against jq itself."""

import base64
import hashlib
import hmac
import json
import shutil
import subprocess

import jq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook.hooks.checksums.core.digest import Contents, canonical, checksum

#: Every character that the API server can store: all of Unicode but surrogates, and those that are special to someone.
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from('\x00\x1f\x7f\x80\x9f\u2028\u2029\ufeff\uffff"\\/<>&')
)
KEYS = st.text("-._abcABC019", min_size=1, max_size=12)
TEXTS = st.text(CHARACTERS, max_size=40)
BASE64 = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())
MAPS = st.one_of(
    st.none(), st.dictionaries(KEYS, st.one_of(TEXTS, st.none()), max_size=6), st.dictionaries(KEYS, BASE64, max_size=6)
)

#: What `-S` does, which is an option of the program and not of the library. `tojson` writes as the program does.
PROGRAM = jq.compile(
    'def sorted: if type == "object" then to_entries | sort_by(.key) | from_entries else . end; '
    "{binaryData, data} | map_values(sorted) | tojson"
)


def document(data: Contents, binary_data: Contents) -> str:
    """An object as kubectl prints it: without the fields that are empty."""
    fields = {"data": data, "binaryData": binary_data}
    return json.dumps({"kind": "ConfigMap", **{name: value for name, value in fields.items() if value is not None}})


@settings(max_examples=300)
@given(data=MAPS, binary_data=MAPS)
def test_the_bytes_are_those_of_jq(data: Contents, binary_data: Contents) -> None:
    """The library inside the newest jq prints the same bytes, whatever the contents."""
    printed: str = PROGRAM.input_text(document(data, binary_data)).first()
    assert canonical(data, binary_data) == printed.encode() + b"\n"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the jq program is not installed")
@settings(max_examples=25, deadline=None)
@given(data=MAPS, binary_data=MAPS)
def test_the_bytes_are_those_of_the_jq_program(data: Contents, binary_data: Contents) -> None:
    """The command line of the documentation gives the same checksum."""
    command = ["jq", "-cS", "{data, binaryData}"]
    ran = subprocess.run(command, input=document(data, binary_data).encode(), capture_output=True, check=True)
    assert canonical(data, binary_data) == ran.stdout
    assert checksum(data, binary_data) == hashlib.sha256(ran.stdout).hexdigest()


def test_a_mebibyte_agrees_too() -> None:
    """The largest contents that Kubernetes stores."""
    data = {"large": "ä\x7f\n" * (2**20 // 4)}
    printed: str = PROGRAM.input_text(document(data, None)).first()
    assert canonical(data, None) == printed.encode() + b"\n"


def test_no_contents() -> None:
    """An object without contents has a checksum as well; absent and empty are different, as in jq."""
    assert canonical(None, None) == b'{"binaryData":null,"data":null}\n'
    assert canonical({}, None) == b'{"binaryData":null,"data":{}}\n'


def test_known_value() -> None:
    """A value computed by hand, so that no version of rollonce changes it by accident: that would roll everything."""
    assert canonical({"password": "aHVudGVyMg=="}, None) == b'{"binaryData":null,"data":{"password":"aHVudGVyMg=="}}\n'
    expected = "dd2cba6de160cd84c8ee529a5663bf99103d1b5c896bb01a21ccc0185bf40437"
    assert checksum({"password": "aHVudGVyMg=="}, None) == expected


@given(data=MAPS, other=MAPS)
def test_different_contents_have_different_checksums(data: Contents, other: Contents) -> None:
    """The checksum tells contents apart, and data from binaryData."""
    assert (checksum(data, None) == checksum(other, None)) == (data == other)
    assert (checksum(data, None) == checksum(None, data)) == (data is None)


def test_the_order_of_keys_does_not_count() -> None:
    """Two maps that are equal have one checksum."""
    assert checksum({"a": "1", "b": "2"}, None) == checksum({"b": "2", "a": "1"}, None)


def test_joining_pairs_cannot_be_confused() -> None:
    """Contents that look alike when joined by separators, a weakness of other reloaders, differ here."""
    assert checksum({"a": "1;b=2"}, None) != checksum({"a": "1", "b": "2"}, None)


def test_with_a_key_it_is_an_hmac() -> None:
    """HMAC-SHA256 over the same bytes, and another value for another key."""
    data = {"password": "aHVudGVyMg=="}
    expected = hmac.new(b"key", canonical(data, None), hashlib.sha256).hexdigest()
    assert checksum(data, None, key=b"key") == expected
    assert checksum(data, None, key=b"other") != expected
    assert checksum(data, None) != expected
