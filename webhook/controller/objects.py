"""What is decoded of objects, lists and events of a watch: only what is asked for, and of nothing else a copy."""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import msgspec


class Key(NamedTuple):
    """Which object of a kind.

    Attributes:
        namespace: Empty for what is in none.
        name: The object's name.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        """Write it as people do."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """Who an object is, and in which version. To decode more of the metadata, inherit from it.

    Annotations are left out on purpose: those of an applied Secret hold its data.
    """

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""

    @property
    def key(self) -> Key:
        """Which object it is."""
        return Key(self.namespace, self.name)


class Described(Protocol):
    """Anything that a mirror can hold: a msgspec struct with metadata."""

    @property
    def metadata(self) -> ObjectMeta:
        """Who it is."""


class PartialObject(msgspec.Struct, frozen=True, gc=False):
    """An object of which nothing but its identity and version is decoded."""

    metadata: ObjectMeta


class _ListMeta(msgspec.Struct, frozen=True):
    resource_version: str = msgspec.field(default="", name="resourceVersion")
    rest: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, frozen=True):
    """A part of a list."""

    metadata: _ListMeta
    items: list[msgspec.Raw] | None = None


class Event(msgspec.Struct, frozen=True):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    object: msgspec.Raw


class Status(msgspec.Struct, frozen=True):
    """What the API server says about a call that failed."""

    message: str = ""
    reason: str = ""
    code: int = 0


class _Bookmark(msgspec.Struct, frozen=True):
    """A bookmark is an object without a name."""

    metadata: _ListMeta


DecodeError: Final = (msgspec.DecodeError, UnicodeDecodeError)

page_decoder: Final = msgspec.json.Decoder(Page)
event_decoder: Final = msgspec.json.Decoder(Event)
partial_decoder: Final = msgspec.json.Decoder(PartialObject)
_bookmark_decoder: Final = msgspec.json.Decoder(_Bookmark)
_status_decoder: Final = msgspec.json.Decoder(Status)


def bookmark_version(raw: msgspec.Raw) -> str:
    """Return the resourceVersion of a bookmark.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _bookmark_decoder.decode(raw).metadata.resource_version


def read_status(body: bytes | msgspec.Raw) -> Status:
    """Read a Status; what is none says nothing."""
    try:
        return _status_decoder.decode(body)
    except DecodeError:
        return Status()
