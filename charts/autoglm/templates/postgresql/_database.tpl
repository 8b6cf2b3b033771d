{{/* Which database: an external one wins over the bundled one; none is a mistake. */}}
{{- define "autoglm.database.isBundled" -}}
{{- if .Values.database.external.dsnSecret.name -}}
{{- else if .Values.database.bundled.enabled -}}
true
{{- else -}}
{{- fail "no database: name a Secret in database.external.dsnSecret.name, or set database.bundled.enabled=true" -}}
{{- end -}}
{{- end -}}

{{- define "autoglm.database.name" -}}
{{ include "autoglm.fullname" . }}-postgresql
{{- end -}}

{{- define "autoglm.database.host" -}}
{{- .Values.database.bundled.clusterIP | default (printf "%s.%s.svc" (include "autoglm.database.name" .) .Release.Namespace) -}}
{{- end -}}

{{- define "autoglm.database.passwordSecret" -}}
{{- .Values.database.bundled.passwordSecret.name | default (include "autoglm.database.name" .) -}}
{{- end -}}
