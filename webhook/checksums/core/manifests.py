"""A stream of manifests, as `helm template` and `kustomize build` write it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import msgspec
import yaml

from webhook.admission.review import describe
from webhook.checksums.core.digest import Contents
from webhook.checksums.core.keys import Source, SourceKind
from webhook.checksums.core.kinds import WorkloadKind
from webhook.checksums.core.workload import Workload
from webhook.checksums.core.yaml_edit import Loader, Tree
from webhook.errors import InputError, MalformedReviewError

_BYTE_ORDER_MARK: Final = "\ufeff"
_SOURCE_KINDS: Final = {kind.title: kind for kind in SourceKind}


class ManifestError(InputError):
    """The manifests cannot be used; the message names the object or the line."""


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a stream.

    Attributes:
        text: Its text from the start of its first line, which can be the line of its `---`.
        root: Its node; positions count from the start of the text.
        tree: Its value.
    """

    text: str
    root: yaml.Node | None
    tree: Tree


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object; a List contains many.

    Attributes:
        document: The number of its document in the stream, from 0.
        path: The path from the document's root to the object; empty unless it is part of a List.
        tree: Its value.
    """

    document: int
    path: tuple[str | int, ...]
    tree: dict[str, Any]

    @property
    def kind(self) -> str:
        """Its `kind`; empty if it has none."""
        return str(self.tree.get("kind") or "")

    @property
    def api_version(self) -> str:
        """Its `apiVersion`; empty if it has none."""
        return str(self.tree.get("apiVersion") or "")

    @property
    def name(self) -> str:
        """Its `metadata.name`; empty if it has none."""
        return str(self._metadata.get("name") or "")

    def namespace(self, default: str) -> str:
        """Return its `metadata.namespace`, or the default if it has none."""
        return str(self._metadata.get("namespace") or default)

    @property
    def source(self) -> Source | None:
        """The Secret or ConfigMap that it is; None if it is neither."""
        kind = _SOURCE_KINDS.get(self.kind)
        return Source(kind, self.name) if kind and self.api_version == "v1" and self.name else None

    @property
    def _metadata(self) -> dict[str, Any]:
        metadata = self.tree.get("metadata")
        return metadata if isinstance(metadata, dict) else {}

    def workload(self, kind: WorkloadKind) -> Workload:
        """Return it as a workload of its kind, as the webhook would decode it.

        Raises:
            ManifestError: A needed field has the wrong type.
        """
        try:
            return Workload.of(kind, msgspec.json.decode(msgspec.json.encode(self.tree), type=kind.object_type))
        except msgspec.ValidationError as error:
            raise ManifestError(f'{self.kind} "{self.name}": {describe(error)}.') from None
        except (MalformedReviewError, TypeError) as error:
            raise ManifestError(f'{self.kind} "{self.name}": {error}.') from None

    def contents(self) -> tuple[Contents, Contents]:
        """Return `data` and `binaryData` as the API server would return them.

        Base64 is encoded again, because authors may break it into lines; `stringData` overrides `data`; an empty map
        is None.

        Raises:
            ManifestError: A value is not a string, or not base64.
        """
        if self.kind == SourceKind.CONFIG_MAP.title:
            return self._strings("data") or None, self._base64("binaryData") or None
        plain = {key: base64.b64encode(value.encode()).decode() for key, value in self._strings("stringData").items()}
        return (self._base64("data") | plain) or None, None

    def _strings(self, field: str) -> dict[str, str]:
        values = self.tree.get(field) or {}
        if not isinstance(values, dict):
            raise ManifestError(f'{self.kind} "{self.name}": {field} has to be a map.')
        for key, value in values.items():
            if not isinstance(value, str | None):
                raise ManifestError(f'{self.kind} "{self.name}": {field}.{key} has to be a string: put it into quotes.')
        return {str(key): value or "" for key, value in values.items()}

    def _base64(self, field: str) -> dict[str, str]:
        return {key: self._canonical(field, key, value) for key, value in self._strings(field).items()}

    def _canonical(self, field: str, key: str, value: str) -> str:
        try:
            # The API server skips line ends and nothing else.
            plain = base64.b64decode(value.replace("\n", "").replace("\r", ""), validate=True)
        except (binascii.Error, ValueError):
            raise ManifestError(f'{self.kind} "{self.name}": {field}.{key} is not base64.') from None
        return base64.b64encode(plain).decode()


def parse(text: str) -> tuple[str, tuple[Document, ...]]:
    """Split a stream into documents.

    Returns:
        The text before the first document, and the documents, each with all text up to the next one. Joined, they are
        the whole text.

    Raises:
        ManifestError: It is not YAML; the message names line and column.
    """
    # A byte order mark is not part of YAML, and only one of the two parsers counts it as a character.
    marked, text = text.startswith(_BYTE_ORDER_MARK), text.removeprefix(_BYTE_ORDER_MARK)
    try:
        events = (event for event in yaml.parse(text, Loader) if isinstance(event, yaml.DocumentStartEvent))
        starts = [mark.index - mark.column for event in events if (mark := event.start_mark)]
    except yaml.YAMLError as error:
        raise _not_yaml(error, 0) from None
    pieces = [text[start:end] for start, end in pairwise([*starts, len(text)])]
    documents: list[Document] = []
    for piece, start in zip(pieces, starts, strict=True):
        loader = Loader(piece)
        try:
            root = loader.get_single_node()
            documents.append(Document(piece, root, None if root is None else loader.construct_document(root)))
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise _not_yaml(error, text.count("\n", 0, start)) from None
        finally:
            loader.dispose()
    preamble = text[: starts[0]] if starts else text
    return (_BYTE_ORDER_MARK if marked else "") + preamble, tuple(documents)


def manifests(documents: tuple[Document, ...]) -> Iterator[Manifest]:
    """Yield all objects, including those in Lists."""
    for number, document in enumerate(documents):
        yield from _manifests(number, (), document.tree)


def _not_yaml(error: Exception, lines_before: int) -> ManifestError:
    mark = error.problem_mark or error.context_mark if isinstance(error, yaml.MarkedYAMLError) else None
    if mark is None:
        return ManifestError(f"The manifests are not YAML: {type(error).__name__}.")
    # The parser's text would quote the manifests, which can contain Secrets.
    return ManifestError(f"The manifests are not YAML: line {lines_before + mark.line + 1}, column {mark.column + 1}.")


def _manifests(number: int, path: tuple[str | int, ...], tree: Tree) -> Iterator[Manifest]:
    if not isinstance(tree, dict):
        return
    items = tree.get("items")
    if str(tree.get("kind") or "").endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _manifests(number, (*path, "items", index), item)
    else:
        yield Manifest(number, path, tree)
