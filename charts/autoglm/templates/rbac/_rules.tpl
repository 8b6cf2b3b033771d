{{/* What the operator does, and nothing else. The same rules make the ClusterRole, or a Role in each listed namespace. */}}
{{- define "autoglm.rbac.rules" -}}
# Users own these objects; the operator watches them and sets or removes its finalizer.
- apiGroups: [autoglm.io]
  resources: [autoglmstudies, autoglmendpoints]
  verbs: [get, list, watch, patch]
- apiGroups: [autoglm.io]
  resources: [autoglmstudies/status, autoglmendpoints/status]
  verbs: [patch]
# An owner reference that blocks deletion is refused without this where OwnerReferencesPermissionEnforcement is on.
- apiGroups: [autoglm.io]
  resources: [autoglmstudies/finalizers, autoglmendpoints/finalizers]
  verbs: [update]
# Jobs are created once and never changed.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
# The namespace's storage credentials, made once, and those that studies name. Never list or watch.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
# Model servers.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
# Whether a namespace is being deleted.
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get]
{{- end -}}

{{- define "autoglm.rbac.subjects" -}}
- kind: ServiceAccount
  name: {{ include "autoglm.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
