"""The parts of objects, lists and watch events that are decoded; everything else is skipped."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import msgspec

from webhook.runtime.decoding import DeepDecoder


class Key(NamedTuple):
    """The identity of an object within its resource.

    Attributes:
        namespace: Empty for a cluster-scoped object.
        name: The object's name.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        """Return `NAMESPACE/NAME`, or the name alone."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Identity and version of an object. Subclass it to decode more of the metadata.

    Annotations are left out on purpose: those of an applied Secret contain its data.
    """

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""

    @property
    def key(self) -> Key:
        """The object's identity."""
        return Key(self.namespace, self.name)


class Described(Protocol):
    """Any msgspec struct with metadata; what an informer can hold."""

    @property
    def metadata(self) -> ObjectMeta:
        """Identity and version."""


class PartialObject(msgspec.Struct, frozen=True, gc=False):
    """An object of which only identity and version are decoded."""

    metadata: ObjectMeta


class _ListMeta(msgspec.Struct, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    continue_token: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, frozen=True):
    """One page of a list."""

    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class WatchEvent(msgspec.Struct, frozen=True):
    """One line of a watch; the type is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct, frozen=True):
    """What the API server says about a failed call."""

    message: str = ""
    reason: str = ""
    code: int = 0


class _Bookmark(msgspec.Struct, frozen=True):
    """A bookmark is an object without a name."""

    metadata: _ListMeta


#: What decoding raises; a lone surrogate in JSON raises the second, and too many levels the third.
DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

page_decoder: Final = DeepDecoder(Page)
event_decoder: Final = DeepDecoder(WatchEvent)
partial_decoder: Final = DeepDecoder(PartialObject)
_bookmark_decoder: Final = DeepDecoder(_Bookmark)
_status_decoder: Final = DeepDecoder(Status)


def bookmark_version(raw: msgspec.Raw) -> str:
    """Return the resourceVersion of a bookmark.

    Raises:
        msgspec.DecodeError: It is not a bookmark.
    """
    return _bookmark_decoder.decode(raw).metadata.resource_version


def read_status(body: bytes | msgspec.Raw) -> Status:
    """Decode a Status; anything else gives an empty one."""
    try:
        return _status_decoder.decode(body)
    except DECODE_ERRORS:
        return Status()
