#!/bin/sh
# Part of the Dockerfile: torch beside what a lock has installed, without what no image needs, and byte code for all.
#   install_torch.sh REQUIREMENT INDEX   (an empty index: pip's own)
set -eu
pip install --no-compile ${2:+--index-url "$2"} "$1"
pip uninstall --yes --quiet pip
cd /opt/autoglm/lib/python3*/site-packages
rm -rf torch/test torch/include torch/share
find torch/bin -type f ! -name torch_shm_manager -delete
find . -type d -name tests -prune -exec rm -r {} +
python -m compileall -qq -j 0 . || true
