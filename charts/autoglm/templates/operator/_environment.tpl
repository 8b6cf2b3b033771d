{{/* The operator's settings: one line a value; docs/reference/settings.md says what each does. */}}
{{- define "autoglm.operator.environment" -}}
{{- if include "autoglm.database.isBundled" . }}
- name: POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef: {name: {{ include "autoglm.database.passwordSecret" . }}, key: {{ .Values.database.bundled.passwordSecret.key }}}
- name: AUTOGLM_OPERATOR_DATABASE_URL
  value: postgresql://postgres:$(POSTGRES_PASSWORD)@{{ include "autoglm.database.host" . }}:5432/postgres
{{- else }}
- name: AUTOGLM_OPERATOR_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ .Values.database.external.dsnSecret.name }}, key: {{ .Values.database.external.dsnSecret.key }}}
{{- end }}
{{- $claim := .Values.artifacts.claim }}
{{- $named := dict
  "NAMESPACES" (join "," .Values.watchNamespaces)
  "TRAINER_IMAGE" (include "autoglm.image" (list . .Values.images.trainer))
  "SERVING_IMAGE" (include "autoglm.image" (list . .Values.images.serving))
  "SERVING_GENERATION_IMAGE" (include "autoglm.image" (list . .Values.images.servingGeneration))
  "IMAGE_PULL_POLICY" .Values.images.pullPolicy
  "IMAGE_PULL_SECRETS" (join "," .Values.images.pullSecrets)
  "POD_FS_GROUP" (kindIs "invalid" .Values.pods.fsGroup | ternary "" (.Values.pods.fsGroup | int64 | toString))
  "POD_HTTP_PROXY" .Values.pods.proxy.http
  "POD_HTTPS_PROXY" .Values.pods.proxy.https
  "POD_NO_PROXY" .Values.pods.proxy.noProxy
  "ALLOWED_SOURCES" (join "," .Values.pods.allowedSources)
  "ARTIFACTS_URI" .Values.artifacts.uri
  "ARTIFACTS_SECRET" .Values.artifacts.secret
  "ARTIFACTS_CLAIM_SIZE" $claim.size
  "ARTIFACTS_CLAIM_CLASS" $claim.storageClass
  "ARTIFACTS_CLAIM_ACCESS_MODE" $claim.accessMode
  "HTTP_PORT" "8080"
  "LOG_LEVEL" .Values.operator.log.level
  "LOG_FORMAT" .Values.operator.log.format
}}
{{- range $name, $value := .Values.operator.settings }}
{{- $isWhole := and (kindIs "float64" $value) (eq (toString (floor $value)) (toString $value)) }}
{{- $_ := set $named (snakecase $name | upper) ($isWhole | ternary (int64 $value | toString) (toString $value)) }}
{{- end }}
{{- range $name := keys $named | sortAlpha }}
- name: AUTOGLM_OPERATOR_{{ $name }}
  value: {{ get $named $name | quote }}
{{- end }}
{{- with .Values.operator.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}
