"""The stored form of the CA Secret: `CaState` to and from the data of the Secret.

| key | content |
|---|---|
| `ca.crt`, `ca.key` | the CA that signs |
| `next.crt`, `next.key` | the CA that will sign next |
| `previous.crt` | the CAs that are trusted until their leaves have expired |
| `state.json` | format version, and the times that belong to the CAs |
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec

from certs.authority import Authority, decode_authority, fingerprint
from certs.ca_state import CaState, Retired, Staged
from certs.errors import CertificateError, FormatError, SecretError
from certs.pem import decode_certificates, encode_certificates, encode_key

#: The version of the format; a Secret of a later one is not read.
FORMAT: Final = 1
KEYS: Final = ("ca.crt", "ca.key", "next.crt", "next.key", "previous.crt", "state.json")

Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _Version(msgspec.Struct, frozen=True):
    version: int


class _Times(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """The content of `state.json`; unknown fields are ignored."""

    version: int
    confirmed_at: Moment | None = None
    renew_leaves_at: Moment | None = None
    drop_after: dict[str, Moment] = msgspec.field(default_factory=dict)


def encode_state(state: CaState) -> dict[str, bytes]:
    """Return the data of the Secret, before base64; other keys of `KEYS` must be removed from the Secret."""
    data: dict[str, bytes] = {}
    if state.current:
        data |= _encode_authority("ca", state.current)
    if state.next:
        data |= _encode_authority("next", state.next.authority)
    if state.previous:
        data["previous.crt"] = encode_certificates(tuple(retired.certificate for retired in state.previous))
    times = _Times(
        version=FORMAT,
        confirmed_at=state.next.confirmed_at if state.next else None,
        renew_leaves_at=state.renew_leaves_at,
        drop_after={fingerprint(r.certificate): r.drop_after for r in state.previous if r.drop_after},
    )
    data["state.json"] = msgspec.json.encode(times)
    return data


def decode_state(data: Mapping[str, bytes]) -> CaState | None:
    """Decode the data of the Secret.

    Returns:
        None if it has no content yet, because the Secret was created empty during the installation.

    Raises:
        SecretError: It cannot be understood; the message says which part.
        FormatError: A later version of this program wrote it.
    """
    if not any(data.get(key) for key in KEYS):
        return None
    times = _decode_times(data.get("state.json", b""))
    try:
        current = _decode_authority(data, "ca")
        following = _decode_authority(data, "next")
        previous = _decode_previous(data, times)
    except CertificateError as error:
        raise SecretError(str(error)) from error
    if current is None and following is None:
        raise SecretError("neither ca.crt nor next.crt is there")
    return CaState(
        current=current,
        next=Staged(following, times.confirmed_at) if following else None,
        previous=previous,
        renew_leaves_at=times.renew_leaves_at,
    )


def _decode_times(data: bytes) -> _Times:
    try:
        version = msgspec.json.decode(data, type=_Version).version
        if version <= FORMAT:
            return msgspec.json.decode(data, type=_Times)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # msgspec raises the second for invalid UTF-8.
        raise SecretError("state.json is missing or malformed") from None
    raise FormatError(f"state.json is of format {version}, this program knows {FORMAT}; upgrade the program")


def _encode_authority(place: str, authority: Authority) -> dict[str, bytes]:
    return {
        f"{place}.crt": encode_certificates((authority.certificate,)),
        f"{place}.key": encode_key(authority.key),
    }


def _decode_authority(data: Mapping[str, bytes], place: str) -> Authority | None:
    certificate, key = data.get(f"{place}.crt", b""), data.get(f"{place}.key", b"")
    return decode_authority(certificate, key, what=f"{place}.crt/{place}.key") if certificate or key else None


def _decode_previous(data: Mapping[str, bytes], times: _Times) -> tuple[Retired, ...]:
    pem = data.get("previous.crt", b"")
    certificates = decode_certificates(pem, what="previous.crt") if pem else ()
    return tuple(Retired(c, times.drop_after.get(fingerprint(c))) for c in certificates)
