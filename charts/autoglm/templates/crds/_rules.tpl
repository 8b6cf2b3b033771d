{{/* Takes the CEL rules out, in place: API servers before 1.25 do not know them, and Helm refuses what they do not know. */}}
{{- define "autoglm.crds.removeRules" -}}
{{- if kindIs "map" . -}}
{{- $_ := unset . "x-kubernetes-validations" -}}
{{- range $name, $value := . -}}
{{- include "autoglm.crds.removeRules" $value -}}
{{- end -}}
{{- else if kindIs "slice" . -}}
{{- range . -}}
{{- include "autoglm.crds.removeRules" . -}}
{{- end -}}
{{- end -}}
{{- end -}}
