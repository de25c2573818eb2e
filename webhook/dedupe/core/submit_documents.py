"""The documents that `rollonce submit` reads: text in, runs that can be created out.

A create may be sent twice, because the reply to the first one can be lost. So each run must have something by which the
second create is recognized: a deliveryId, or a name of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import yaml

from webhook.admission.text import shown
from webhook.dedupe.core.run import OrchestrationRun, Resource
from webhook.errors import ConfigurationError
from webhook.runtime import parsers

#: More values than any object that the API server accepts; an alias of YAML can make a value contain itself.
_MOST_VALUES: Final = 1_000_000
#: Scalars that PyYAML converts and Kubernetes does not: dates, and a single `=`.
_NOT_SPECIAL: Final = {"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value"}
_SEXAGESIMAL: Final = ":"
_MERGE: Final = "tag:yaml.org,2002:merge"
_BYTE_ORDER_MARK: Final = "\ufeff"


class _RepeatedKeyError(Exception):
    """A map of JSON has a key twice."""


class _Loader(yaml.SafeLoader):
    """Parse plain scalars as Kubernetes does, and accept each key of a map once."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML declares it
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NOT_SPECIAL]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Return a map."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE]
        if repeated := _repeated(names):
            raise yaml.constructor.ConstructorError(None, None, _twice(repeated), node.start_mark)
        return super().construct_mapping(node, deep)


def _number_or_text(convert: Callable[[_Loader, yaml.ScalarNode], int | float]) -> Callable[..., int | float | str]:
    def construct(loader: _Loader, node: yaml.ScalarNode) -> int | float | str:
        # In YAML 1.1, `12:30` is a number to the base of 60; in Kubernetes it is text.
        return str(node.value) if _SEXAGESIMAL in node.value else convert(loader, node)

    return construct


_Loader.add_constructor("tag:yaml.org,2002:int", _number_or_text(yaml.SafeLoader.construct_yaml_int))
_Loader.add_constructor("tag:yaml.org,2002:float", _number_or_text(yaml.SafeLoader.construct_yaml_float))


@dataclass(frozen=True, slots=True)
class RunDocument:
    """A run that can be created, as often as necessary.

    Attributes:
        title: What messages call it.
        body: Its JSON, as it is sent.
        run: What deduplication reads of it.
        namespace: Where it is to be created; empty for the default.
    """

    title: str
    body: bytes
    run: OrchestrationRun
    namespace: str

    @property
    def needs_webhook(self) -> bool:
        """Whether only the webhook recognizes a second create: the API server would give it another name."""
        return not self.run.name

    def is_same_delivery(self, stored: OrchestrationRun) -> bool:
        """Return whether a stored run of the same namespace is the one that this document asks for."""
        return (stored.delivery_id, stored.ref) == (self.run.delivery_id, self.run.ref)


def read_documents(text: str, *, source: str, resource: Resource, namespace: str) -> list[RunDocument]:
    """Return the runs of a stream of YAML or JSON documents; empty documents are skipped.

    Args:
        text: The stream.
        source: What messages call it, such as the name of the file.
        resource: What is accepted.
        namespace: The one that was given on the command line; empty if none was.

    Raises:
        ConfigurationError: A document cannot be submitted; nothing was sent yet.
    """
    trees = _trees(text.removeprefix(_BYTE_ORDER_MARK), source)
    several = len(trees) > 1
    found = [
        _document(tree, f"document {number} of {source}" if several else source, resource, namespace)
        for number, tree in enumerate(trees, 1)
        if tree is not None
    ]
    if not found:
        raise ConfigurationError(f"{source} has no {resource.kind}.")
    return found


def _trees(text: str, source: str) -> list[Any]:
    if text.lstrip()[:1] == "{":
        # JSON allows tabs, and pairs of surrogates as escapes; YAML does not. A stream of JSON has no `---`.
        try:
            return _json_values(text)
        except ValueError:
            pass
        except _RepeatedKeyError as error:
            raise ConfigurationError(f"{source}: {error}.") from None
        except RecursionError:
            raise ConfigurationError(f"{source} is nested too deep.") from None
    try:
        return list(yaml.load_all(text, _Loader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = shown(getattr(error, "problem", None) or "")
        raise ConfigurationError(f"{source} is not YAML{where}{problem and ': '}{problem}.") from None


def _json_values(text: str) -> list[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=_unique)
    values, rest = [], text.strip()
    while rest:
        value, end = decoder.raw_decode(rest)
        values.append(value)
        rest = rest[end:].lstrip()
    return values


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if repeated := _repeated([name for name, _ in pairs]):
        raise _RepeatedKeyError(_twice(repeated))
    return dict(pairs)


def _repeated(names: list[str]) -> str:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), "")  # type: ignore[func-returns-value]


def _twice(name: str) -> str:
    return f"the key {shown(name)!r} is given twice in one map"


def _document(tree: Any, title: str, resource: Resource, namespace: str) -> RunDocument:
    if not isinstance(tree, dict):
        raise ConfigurationError(f"{title} is not a Kubernetes object.")
    title += _named(tree)
    expected = f"{resource.group}/{resource.version}", resource.kind
    if (tree.get("apiVersion"), tree.get("kind")) != expected:
        raise ConfigurationError(f"{title} cannot be submitted: only {expected[1]} of {expected[0]} can.")
    if problem := _problem(tree):
        raise ConfigurationError(f"{title}: {problem}.")
    try:
        body = msgspec.json.encode(tree)
        run = msgspec.json.decode(body, type=OrchestrationRun)
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{title} is not a valid object: {shown(str(error))}.") from None
    except RecursionError:
        raise ConfigurationError(f"{title} is nested too deep.") from None
    _require_identity(run, tree, title)
    return RunDocument(title, body, run, _namespace(run, title, namespace))


def _named(tree: dict[Any, Any]) -> str:
    """Describe an object of any kind."""
    metadata = tree.get("metadata")
    names = metadata if isinstance(metadata, dict) else {}
    name = names.get("name") or names.get("generateName") or ""
    return f' ({shown(str(tree.get("kind") or "no kind"))} "{shown(str(name))}")'


def _problem(tree: Any) -> str:
    """Return why a tree is not JSON; an empty string if it is."""
    waiting, count = [tree], 0
    while waiting:
        count += 1
        if count > _MOST_VALUES:
            return "it has too many values"
        match waiting.pop():
            case dict() as members:
                if wrong := [name for name in members if not isinstance(name, str)]:
                    return f"the key {shown(str(wrong[0]))} is not text: put it in quotes"
                waiting += members.values()
            case list() as items:
                waiting += items
            case float() as number if not math.isfinite(number):
                return f"{number} is not a number that JSON has"
            case bool() | int() | float() | str() | None:
                pass
            case other:
                return f"a value of the type {type(other).__name__} is not one that JSON has"
    return ""


def _require_identity(run: OrchestrationRun, tree: dict[str, Any], title: str) -> None:
    spec = tree.get("spec")
    delivery_id = spec.get("deliveryId") if isinstance(spec, dict) else None
    if delivery_id is not None and not isinstance(delivery_id, str):
        raise ConfigurationError(f"{title}: spec.deliveryId is not text: put it in quotes.")
    if not (run.name or run.generate_name):
        raise ConfigurationError(f"{title} has neither metadata.name nor metadata.generateName.")
    if run.delivery_id is None and not run.name:
        raise ConfigurationError(
            f"{title} needs a spec.deliveryId, or a metadata.name: if the answer to its create were lost, a second "
            "create would make a second run."
        )


def _namespace(run: OrchestrationRun, title: str, namespace: str) -> str:
    if namespace and run.namespace and run.namespace != namespace:
        raise ConfigurationError(f"{title} names the namespace {shown(run.namespace)}, and not {namespace} as -n does.")
    try:
        return parsers.dns_label_or_none(run.namespace) or namespace
    except ValueError as error:
        raise ConfigurationError(f"{title}: metadata.namespace {shown(run.namespace)!r}: {error}.") from None
