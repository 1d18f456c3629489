{{- define "shroff.labels" -}}
app.kubernetes.io/name: shroff
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "shroff.match" -}}
app.kubernetes.io/name: shroff
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "shroff.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "shroff.claim" -}}
{{ .Values.persistence.existingClaim | default (printf "%s-data" .Release.Name) }}
{{- end }}

{{- define "shroff.pods" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: { type: RuntimeDefault }
serviceAccountName: {{ .Release.Name }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets: {{ toJson . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "shroff.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}

{{/* A container of shroff: its image, its variables and its folders. */}}
{{- define "shroff.program" -}}
image: {{ include "shroff.image" . }}
{{ include "shroff.container" . }}
env:
  - { name: TMPDIR, value: /data/tmp } # `backup verify` copies a log there
{{- range $name, $value := .Values.env }}
  - { name: {{ $name }}, value: {{ $value | toString | quote }} }
{{- end }}
{{- range $name, $from := .Values.secrets }}
  - { name: {{ $name }}_FILE, value: /run/secrets/{{ $name }} }
{{- end }}
volumeMounts:
  - { name: data, mountPath: /data }
  - { name: tmp, mountPath: /tmp }
{{- if .Values.secrets }}
  - { name: secrets, mountPath: /run/secrets, readOnly: true }
{{- end }}
{{- if .Values.project.files }}
  - { name: project, mountPath: /project, readOnly: true }
{{- end }}
{{- end }}

{{- define "shroff.volumes" -}}
- name: data
  persistentVolumeClaim: { claimName: {{ include "shroff.claim" . }} }
- name: tmp
  emptyDir: { sizeLimit: 1Gi }
{{- if .Values.secrets }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
    {{- range $name, $from := .Values.secrets }}
      - secret:
          name: {{ $from.secret }}
          items: [{ key: {{ $from.key | quote }}, path: {{ $name }} }]
    {{- end }}
{{- end }}
{{- if .Values.project.files }}
- name: project
  configMap:
    name: {{ .Release.Name }}-project
    items:
    {{- range $path, $_ := .Values.project.files }}
      - { key: {{ $path | replace "/" ".." | quote }}, path: {{ $path | quote }} }
    {{- end }}
{{- end }}
{{- end }}
