"""The checksum, compared with jq."""

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

from webhook.checksums.core.digest import Contents, canonical, checksum

#: Every character that the API server can store: all of Unicode except surrogates, and characters that are special.
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs"]), st.sampled_from('\x00\x1f\x7f\x80\x9f\u2028\u2029\ufeff\uffff"\\/<>&')
)
KEYS = st.text("-._abcABC019", min_size=1, max_size=12)
TEXTS = st.text(CHARACTERS, max_size=40)
BASE64 = st.binary(max_size=40).map(lambda data: base64.b64encode(data).decode())
MAPS = st.one_of(
    st.none(), st.dictionaries(KEYS, st.one_of(TEXTS, st.none()), max_size=6), st.dictionaries(KEYS, BASE64, max_size=6)
)

#: The same as `-S`, an option that only the program has. `tojson` has the output format of the program.
PROGRAM = jq.compile(
    'def sorted: if type == "object" then to_entries | sort_by(.key) | from_entries else . end; '
    "{binaryData, data} | map_values(sorted) | tojson"
)


def document(data: Contents, binary_data: Contents) -> str:
    """Return an object as kubectl prints it: without empty fields."""
    fields = {"data": data, "binaryData": binary_data}
    return json.dumps({"kind": "ConfigMap", **{name: value for name, value in fields.items() if value is not None}})


@settings(max_examples=300)
@given(data=MAPS, binary_data=MAPS)
def test_the_bytes_are_those_of_jq(data: Contents, binary_data: Contents) -> None:
    """The library of the newest jq prints the same bytes for any contents."""
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


def test_a_mebibyte_is_equal_too() -> None:
    """The largest contents that Kubernetes stores."""
    data = {"large": "ä\x7f\n" * (2**20 // 4)}
    printed: str = PROGRAM.input_text(document(data, None)).first()
    assert canonical(data, None) == printed.encode() + b"\n"


def test_no_contents() -> None:
    """An object without contents has a checksum; absent and empty differ, as in jq."""
    assert canonical(None, None) == b'{"binaryData":null,"data":null}\n'
    assert canonical({}, None) == b'{"binaryData":null,"data":{}}\n'


def test_known_value() -> None:
    """A value computed by hand: if a version of rollonce changed it, every workload would roll."""
    assert canonical({"password": "aHVudGVyMg=="}, None) == b'{"binaryData":null,"data":{"password":"aHVudGVyMg=="}}\n'
    expected = "dd2cba6de160cd84c8ee529a5663bf99103d1b5c896bb01a21ccc0185bf40437"
    assert checksum({"password": "aHVudGVyMg=="}, None) == expected


@given(data=MAPS, other=MAPS)
def test_different_contents_have_different_checksums(data: Contents, other: Contents) -> None:
    """It differs for different contents, and for `data` and `binaryData`."""
    assert (checksum(data, None) == checksum(other, None)) == (data == other)
    assert (checksum(data, None) == checksum(None, data)) == (data is None)


def test_the_order_of_keys_does_not_count() -> None:
    """Equal maps have equal checksums."""
    assert checksum({"a": "1", "b": "2"}, None) == checksum({"b": "2", "a": "1"}, None)


def test_contents_with_separators_are_not_confused() -> None:
    """Contents that are equal when joined by separators have different checksums."""
    assert checksum({"a": "1;b=2"}, None) != checksum({"a": "1", "b": "2"}, None)


def test_with_a_key_it_is_an_hmac() -> None:
    """HMAC-SHA256 of the same bytes; another key gives another value."""
    data = {"password": "aHVudGVyMg=="}
    expected = hmac.new(b"key", canonical(data, None), hashlib.sha256).hexdigest()
    assert checksum(data, None, key=b"key") == expected
    assert checksum(data, None, key=b"other") != expected
    assert checksum(data, None) != expected
