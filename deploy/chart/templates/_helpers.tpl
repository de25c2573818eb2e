{{/* The name of all objects. */}}
{{- define "rollonce.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "rollonce" .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-rollonce" (.Release.Name | trunc 39 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{/* Labels that select pods. The name is a constant: the webhooks are never sent objects that have it. */}}
{{- define "rollonce.selector" -}}
app.kubernetes.io/name: rollonce
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of all objects. */}}
{{- define "rollonce.labels" -}}
app.kubernetes.io/name: rollonce
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object; arguments: root, name, and optionally component, labels, annotations, and
namespace (false for none). */}}
{{- define "rollonce.metadata" -}}
{{- $root := .root -}}
name: {{ .name }}
{{- if not (kindIs "bool" .namespace) }}
namespace: {{ .namespace | default $root.Release.Namespace }}
{{- end }}
labels:
  {{- include "rollonce.labels" $root | nindent 2 }}
  {{- with .component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) $root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rollonce.cluster" -}}
{{- if ne .Values.clusterObjects "omit" }}true{{ end -}}
{{- end -}}

{{- define "rollonce.namespaced" -}}
{{- if ne .Values.clusterObjects "only" }}true{{ end -}}
{{- end -}}

{{- define "rollonce.bundledValkey" -}}
{{- if and .Values.redis.url .Values.redis.existingSecret.name -}}
{{- fail "Give either redis.url or redis.existingSecret." -}}
{{- end -}}
{{- if not (or .Values.redis.url .Values.redis.existingSecret.name) }}true{{ end -}}
{{- end -}}

{{- define "rollonce.tlsSecret" -}}
{{- .Values.certs.secretName | default (printf "%s-tls" (include "rollonce.fullname" .)) -}}
{{- end -}}

{{/* The namespaces of the operator's list, as a YAML list. */}}
{{- define "rollonce.policyNamespaces" -}}
{{- .Values.rolloutChecksums.namespaces | default (list .Release.Namespace) | uniq | sortAlpha | toYaml -}}
{{- end -}}

{{/* The namespaces that the controller watches, as a YAML list. */}}
{{- define "rollonce.watchNamespaces" -}}
{{- $list := ternary (include "rollonce.policyNamespaces" . | fromYamlArray) (list) .Values.rolloutChecksums.enabled -}}
{{- $watched := .Values.rolloutChecksums.watchNamespaces -}}
{{- concat $watched $list | default (list .Release.Namespace) | uniq | sortAlpha | toYaml -}}
{{- end -}}

{{/* The namespaces with runs, as a YAML list; empty for all. */}}
{{- define "rollonce.dedupeNamespaces" -}}
{{- $all := and .Values.rbac.clusterScoped (not .Values.dedupe.namespaces) -}}
{{- ternary (list) (.Values.dedupe.namespaces | default (list .Release.Namespace) | uniq | sortAlpha) $all | toYaml -}}
{{- end -}}

{{/* The Secrets and ConfigMaps that may be read, as a map of YAML lists; empty if names do not matter. */}}
{{- define "rollonce.watchNames" -}}
{{- $checksums := .Values.rolloutChecksums -}}
{{- if or $checksums.watchSecrets $checksums.watchConfigMaps -}}
{{- $names := dict "secrets" $checksums.watchSecrets "configmaps" $checksums.watchConfigMaps -}}
{{- if $checksums.enabled -}}
{{- range $resource, $listed := dict "secrets" $checksums.secrets "configmaps" $checksums.configMaps -}}
{{- range $listed -}}
{{- $name := kindIs "map" . | ternary (get (kindIs "map" . | ternary . dict) "name") . -}}
{{- $_ := set $names $resource (append (get $names $resource) $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- dict "secrets" ($names.secrets | uniq | sortAlpha) "configmaps" ($names.configmaps | uniq | sortAlpha) | toYaml -}}
{{- else -}}
{}
{{- end -}}
{{- end -}}

{{/* The annotations of the webhook configurations. */}}
{{- define "rollonce.webhookAnnotations" -}}
{{- $own := dict -}}
{{- if eq .Values.certs.mode "cert-manager" -}}
{{- $own = dict "cert-manager.io/inject-ca-from" (printf "%s/%s" .Release.Namespace (include "rollonce.fullname" .)) -}}
{{- end -}}
{{- with merge $own .Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}
