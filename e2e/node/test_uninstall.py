"""The end of a release, after every other test: nothing that users own is lost, and nothing of theirs is stuck."""

from __future__ import annotations

import pytest
from e2e.kube import Kube, wait_for
from e2e.node.fixtures import small_study
from e2e.node.release import NAMESPACE, Release

from autoglm_api.names import FINALIZER

pytestmark = pytest.mark.timeout(600)


def test_uninstalling_frees_every_study_and_keeps_it(kube: Kube, release: Release, namespace: str) -> None:
    kube.create(small_study("kept", suspend=True, deletionPolicy="Delete"), namespace)

    def finalizers() -> list[str]:
        study = kube.get("AutoGLMStudy", "kept", namespace)
        assert study is not None
        return list(study["metadata"].get("finalizers", []))

    wait_for(lambda: FINALIZER in finalizers())
    release.uninstall()
    assert kube.get("Deployment", "autoglm", NAMESPACE) is None
    assert kube.get("ClusterRole", f"autoglm-{NAMESPACE}") is None
    assert finalizers() == []
    kube.delete("AutoGLMStudy", "kept", namespace)
    wait_for(lambda: kube.get("AutoGLMStudy", "kept", namespace) is None)
