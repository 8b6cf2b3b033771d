"""What the tests of this folder need and takes minutes the first time: images, built and as containerd holds them."""

from __future__ import annotations

from e2e.node.images import build_archives
from e2e.node.imagestore import stock

stock(build_archives())
