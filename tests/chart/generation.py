"""The files of the chart that are made from the code, for `tests.generate`."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.values_table import with_table
from webhook.admission.registration import Installation, RegistrationOptions, ServiceEndpoint, configurations
from webhook.app import Application
from webhook.features import FEATURES
from webhook.kube.rbac import Access, AccessOptions
from webhook.runtime.command_line import dump

CHART: Final = Path(__file__).resolve().parent.parent.parent / "deploy" / "chart"
_VERSION: Final = re.compile(r"(?m)^(version: |appVersion: |    newTag: |      image: rollonce:)\S+$")
_HEADER: Final = "# Made from the code by `make generate`"
_APPLICATION: Final = Application(FEATURES)

#: Texts that stand in the rendered configurations for what only the template knows. None contains another one.
_NAMESPACE, _NAME, _LABELS, _ANNOTATIONS = "CHARTNAMESPACE", "CHARTNAME", "CHARTLABELS", "CHARTANNOTATIONS"
_BUNDLE, _LISTED = "CHARTBUNDLE", "CHARTLISTED"
_REPLACEMENTS: Final = {
    f"  annotations:\n    {_ANNOTATIONS}: x\n": (
        '  {{- with include "rollonce.webhookAnnotations" . }}\n  {{- . | nindent 2 }}\n  {{- end }}\n'
    ),
    f"    {_LABELS}: x\n": '    {{- include "rollonce.labels" . | nindent 4 }}\n',
    f"    caBundle: {_BUNDLE}\n": "    {{- with .Values.certs.caBundle }}\n    caBundle: {{ . }}\n    {{- end }}\n",
    f"      - {_LISTED}\n": '      {{- include "rollonce.policyNamespaces" . | nindent 6 }}\n',
    _NAMESPACE: "{{ .Release.Namespace }}",
    _NAME: '{{ include "rollonce.fullname" . }}',
}

#: Settings that follow from other values of the chart.
_OWNED: Final = frozenset(
    {
        *("namespace", "service", "webhooks.names", "webhooks.caFile", "controller.serviceAccount", "controller.lease"),
        *("kubeconfig", "context", "listen", "health.listen", "redis.url"),
        *("dedupe.retentionDays", "dedupe.namespaces", "dedupe.onRedisDown", "dedupe.onUnproved", "dedupe.strict"),
        *("dedupe.state", "rolloutChecksums.missing", "rolloutChecksums.access", "rolloutChecksums.watchNamespaces"),
        *("rolloutChecksums.watchSecrets", "rolloutChecksums.watchConfigMaps"),
        *("tls.mode", "tls.certificate", "tls.key", "tls.secret", "tls.caSecret"),
    }
)


def webhooks_template() -> str:
    """Return the template of the webhook configurations."""
    wanted = RegistrationOptions(
        controller_user=f"system:serviceaccount:{_NAMESPACE}:{_NAME}-controller", policy_namespaces=(_LISTED,)
    )
    installation = Installation(
        ServiceEndpoint(_NAMESPACE, _NAME),
        ca_bundle=_BUNDLE,
        configuration_name=_NAME,
        annotations={_ANNOTATIONS: "x"},
        labels={_LABELS: "x"},
    )
    documents = configurations(_APPLICATION.registrations(wanted), installation)
    text = "".join(map(_template, documents))
    for found, replacement in _REPLACEMENTS.items():
        text = text.replace(found, replacement)
    condition = '{{- if include "rollonce.cluster" . }}'
    return f"{_HEADER}; the controller writes caBundle.\n{condition}\n{text}{{{{- end }}}}\n"


def _template(configuration: dict[str, Any]) -> str:
    """Return one configuration, with the webhooks of the operator's list only where it is enabled."""
    webhooks = configuration.pop("webhooks")
    text = dump([configuration]) + "webhooks:\n"
    for webhook in webhooks:
        entry = yaml.safe_dump([webhook], sort_keys=False, width=1000)
        if f"- {_LISTED}\n" in entry:
            entry = f"{{{{- if .Values.rolloutChecksums.enabled }}}}\n{entry}{{{{- end }}}}\n"
        text += entry
    return text


def access_rules() -> str:
    """Return the RBAC rules by what may be read, feature and program; `resourceNames` are put in by the template."""
    any_name = {"secrets": ("NAME",), "configmaps": ("NAME",)}
    document = {
        access.value: {
            feature.name: {"server": list(rules.server), "controller": list(rules.controller)}
            for feature in FEATURES
            if (rules := feature.rules(AccessOptions(access, any_name if access is Access.NAMES else {}))).controller
        }
        for access in (Access.NAMESPACES, Access.NAMES)
    }
    return f"{_HEADER}: rules by access, feature and program.\n{dump([document])}"


def alerts() -> str:
    """Return the alerts of deploy/dashboards: a chart cannot contain a file from outside its folder."""
    return (CHART.parent / "dashboards" / "alerts.yaml").read_text(encoding="utf-8")


def with_version(path: Path) -> str:
    """Return a file as it is, with the version of the project wherever a version or a tag of rollonce is given."""
    version = tomllib.loads((CHART.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    return _VERSION.sub(rf"\g<1>{version}", path.read_text(encoding="utf-8"))


def readme() -> str:
    """Return the chart's README as it is, with the table of all values."""
    return with_table(CHART / "README.md", CHART / "values.yaml")


def values_schema() -> str:
    """Return the schema of the values as it is, with the value `settings` made from the declared settings."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    tree: dict[str, Any] = {}
    for path in _free_settings():
        node = tree
        *above, last = path.split(".")
        for key in above:
            node = node.setdefault(key, {})
        node[last] = {}
    schema["properties"]["settings"] = _closed(tree)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _free_settings() -> Iterator[str]:
    return (setting.name for setting in _APPLICATION.catalogue.settings if setting.name not in _OWNED)


def _closed(tree: dict[str, Any]) -> dict[str, Any]:
    if not tree:
        return {"type": ["string", "number", "boolean", "array"]}
    properties = {key: _closed(branch) for key, branch in sorted(tree.items())}
    return {"type": "object", "additionalProperties": False, "properties": properties}
