"""The operator may do what it does and nothing else."""

from __future__ import annotations

from tests.chart.rendering import NAMESPACE, Object, one, render, select

# Everything the operator ever asks the API server for; more than this is a decision, so it is written twice.
ALLOWED = {
    ("autoglm.io", "autoglmstudies"): {"get", "list", "watch", "patch"},
    ("autoglm.io", "autoglmendpoints"): {"get", "list", "watch", "patch"},
    ("autoglm.io", "autoglmstudies/status"): {"patch"},
    ("autoglm.io", "autoglmendpoints/status"): {"patch"},
    ("autoglm.io", "autoglmstudies/finalizers"): {"update"},
    ("autoglm.io", "autoglmendpoints/finalizers"): {"update"},
    ("batch", "jobs"): {"get", "list", "watch", "create", "delete"},
    ("", "pods"): {"get", "list", "watch"},
    ("", "secrets"): {"get", "create"},
    ("", "persistentvolumeclaims"): {"get", "create"},
    ("apps", "deployments"): {"get", "list", "watch", "create", "patch", "delete"},
    ("", "services"): {"get", "list", "watch", "create", "patch"},
    ("", "events"): {"create"},
    ("", "namespaces"): {"get"},
}


def granted(role: Object) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def test_the_cluster_role_is_the_list_of_what_the_operator_does() -> None:
    assert granted(one(render(), "ClusterRole")) == ALLOWED


def test_secrets_are_never_listed_or_watched() -> None:
    for role in (*select(render(), "ClusterRole"), *select(render({"watchNamespaces": ["a"]}), "Role")):
        assert granted(role).get(("", "secrets"), set()) <= {"get", "create"}


def test_listed_namespaces_get_roles_and_the_cluster_nothing() -> None:
    objects = render({"watchNamespaces": ["team-a", "team-b"]})
    assert select(objects, "ClusterRole") == select(objects, "ClusterRoleBinding") == []
    roles = [role for role in select(objects, "Role") if role["metadata"]["namespace"] != NAMESPACE]
    assert [role["metadata"]["namespace"] for role in roles] == ["team-a", "team-b"]
    for role in roles:
        assert granted(role) == ALLOWED
        (binding,) = [
            each
            for each in select(objects, "RoleBinding", role["metadata"]["name"])
            if each["metadata"]["namespace"] == role["metadata"]["namespace"]
        ]
        assert binding["roleRef"] == {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "Role",
            "name": role["metadata"]["name"],
        }
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "autoglm", "namespace": NAMESPACE}]


def test_two_releases_do_not_share_cluster_wide_names() -> None:
    (role,) = select(render(), "ClusterRole")
    assert NAMESPACE in role["metadata"]["name"]


def test_stopping_the_operator_is_granted_only_while_uninstalling() -> None:
    role = one(render(), "Role", "autoglm-uninstall")
    assert role["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert role["rules"][0]["resourceNames"] == ["autoglm"]
