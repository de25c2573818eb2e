{{/* The settings file of both programs, as YAML. */}}
{{- define "rollonce.settings" -}}
{{- $name := include "rollonce.fullname" . -}}
{{- $values := .Values -}}
{{- $own := dict "dedupe" (omit $values.dedupe "namespaces") -}}
{{- with include "rollonce.dedupeNamespaces" . | fromYamlArray -}}
{{- $_ := set $own.dedupe "namespaces" . -}}
{{- end -}}
{{- $checksums := pick $values.rolloutChecksums "missing" -}}
{{- if $values.rolloutChecksums.enabled -}}
{{- $checksums = merge $checksums (pick $values.rolloutChecksums "enabled" "secrets" "configMaps") -}}
{{- $_ := set $checksums "namespaces" (include "rollonce.policyNamespaces" . | fromYamlArray) -}}
{{- end -}}
{{- $names := include "rollonce.watchNames" . | fromYaml -}}
{{- if $values.rbac.clusterScoped -}}
{{- if or $values.rolloutChecksums.watchNamespaces $names -}}
{{- fail "With rbac.clusterScoped all namespaces are watched: remove rolloutChecksums.watchNamespaces, watchSecrets and watchConfigMaps, or set rbac.clusterScoped to false." -}}
{{- end -}}
{{- $_ := set $checksums "access" "cluster" -}}
{{- else -}}
{{- $_ := set $checksums "watchNamespaces" (include "rollonce.watchNamespaces" . | fromYamlArray) -}}
{{- if $names -}}
{{- $checksums = merge $checksums (dict "access" "names" "watchSecrets" $names.secrets "watchConfigMaps" $names.configmaps) -}}
{{- end -}}
{{- end -}}
{{- $_ := set $own "rolloutChecksums" $checksums -}}
{{- if include "rollonce.bundledValkey" . -}}
{{- $_ := set $own "redis" (dict "url" (printf "redis://%s-valkey:6379/0" $name)) -}}
{{- else if $values.redis.url -}}
{{- if regexMatch "://[^/]*@" $values.redis.url -}}
{{- fail "redis.url has a user or password, which would be in a ConfigMap: put the URL into a Secret and name it in redis.existingSecret." -}}
{{- end -}}
{{- $_ := set $own "redis" (dict "url" $values.redis.url) -}}
{{- end -}}
{{- $tls := dict -}}
{{- if ne $values.certs.mode "self-managed" -}}
{{- $tls = dict "mode" "secret" "secret" (include "rollonce.tlsSecret" .) -}}
{{- end -}}
{{- if ne $name "rollonce" -}}
{{- $_ := set $own "service" $name -}}
{{- $_ := set $own "webhooks" (dict "names" (list $name)) -}}
{{- $_ := set $own "controller" (dict "serviceAccount" (printf "%s-controller" $name) "lease" (printf "%s-controller" $name)) -}}
{{- $_ := set $own.dedupe "state" (printf "%s-state" $name) -}}
{{- $_ := set $tls "caSecret" (printf "%s-ca" $name) -}}
{{- end -}}
{{- if $tls -}}
{{- $_ := set $own "tls" $tls -}}
{{- end -}}
{{- mergeOverwrite (deepCopy $values.settings) $own | toYaml -}}
{{- end -}}

{{/* What a program must be restarted for: all settings but the operator's list, which is read again when it changes. */}}
{{- define "rollonce.settingsChecksum" -}}
{{- $settings := include "rollonce.settings" . | fromYaml -}}
{{- $list := list "enabled" "namespaces" "secrets" "configMaps" -}}
{{- range $list -}}
{{- $_ := unset $settings.rolloutChecksums . -}}
{{- end -}}
{{- $settings | toYaml | sha256sum -}}
{{- end -}}
