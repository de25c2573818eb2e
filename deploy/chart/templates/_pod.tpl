{{/* Metadata of a pod of a program; arguments: root, component. */}}
{{- define "rollonce.podMetadata" -}}
labels:
  {{- include "rollonce.selector" . | nindent 2 }}
  {{- with merge (dict) .root.Values.podLabels .root.Values.commonLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  checksum/settings: {{ include "rollonce.settingsChecksum" .root }}
  {{- with merge (dict) .root.Values.podAnnotations .root.Values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* What all pods have. */}}
{{- define "rollonce.placement" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "rollonce.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "rollonce.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "rollonce.image" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end -}}

{{/* The parts of a pod of a program that both have; arguments: root, component. */}}
{{- define "rollonce.programPod" -}}
{{- $placement := include "rollonce.placement" .root -}}
{{- with $placement }}{{ . | trim }}
{{ end -}}
priorityClassName: {{ .root.Values.priorityClassName | quote }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "rollonce.selector" $ | nindent 8 }}
{{- end }}
securityContext:
  {{- include "rollonce.podSecurity" . | nindent 2 }}
volumes:
  - name: settings
    configMap: {name: {{ include "rollonce.fullname" .root }}}
  {{- with .root.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* The parts of the container of a program that both have. */}}
{{- define "rollonce.programContainer" -}}
{{ include "rollonce.image" . }}
{{- with include "rollonce.env" . }}
env:
  {{- . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "rollonce.containerSecurity" . | nindent 2 }}
volumeMounts:
  - {name: settings, mountPath: /etc/rollonce, readOnly: true}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
startupProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 1
  failureThreshold: 30
{{- end -}}

{{- define "rollonce.env" -}}
{{- with .Values.redis.existingSecret }}
{{- if .name }}
- name: ROLLONCE_REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ .name }}, key: {{ .key }}}
{{- end }}
{{- end }}
{{- if and (include "rollonce.bundledValkey" .) .Values.valkey.passwordSecret.name }}
- name: VALKEY_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ .Values.valkey.passwordSecret.name }}, key: {{ .Values.valkey.passwordSecret.key }}}
- name: ROLLONCE_REDIS_URL
  value: redis://:$(VALKEY_PASSWORD)@{{ include "rollonce.fullname" . }}-valkey:6379/0
{{- end }}
{{- range $name, $value := .Values.controllers.env.vars }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
