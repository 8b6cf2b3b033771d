"""`python -m e2e.cluster`: starts the cluster for trying things by hand and prints its kubeconfig; Ctrl-C ends it."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

from e2e.cluster.cluster import Cluster


def main() -> None:
    """Runs until SIGINT or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="autoglm-cluster-") as directory:
        cluster = Cluster.start(Path(directory) / "cluster")
        try:
            print(f"export KUBECONFIG={cluster.kube.kubeconfig}\nkubectl is {cluster.kubectl}", flush=True)
            signal.pause()
        except KeyboardInterrupt:
            print("stopping", flush=True)
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
