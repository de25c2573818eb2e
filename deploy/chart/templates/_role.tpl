{{/* A role and its binding; arguments: root, name, account, rules, and optionally cluster ("Cluster"), namespace. */}}
{{- define "rollonce.role" -}}
{{- $cluster := .cluster | default "" -}}
{{- $namespace := ternary false (.namespace | default .root.Release.Namespace) (eq $cluster "Cluster") }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $cluster }}Role
metadata:
  {{- include "rollonce.metadata" (dict "root" .root "name" .name "namespace" $namespace "annotations" .annotations) | nindent 2 }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $cluster }}RoleBinding
metadata:
  {{- include "rollonce.metadata" (dict "root" .root "name" .name "namespace" $namespace "annotations" .annotations) | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $cluster }}Role
  name: {{ .name }}
subjects:
  - {kind: ServiceAccount, name: {{ .account }}, namespace: {{ .root.Release.Namespace }}}
{{- end -}}
