# One target an image: operator, trainer, serving, and serving-generation for models that write texts. Each runs as any
# non-root user with a read-only root file system; what is written goes to /tmp. Dependencies are a virtual environment in
# /opt/autoglm, the project itself is in /opt/app: a new version of it changes a small layer only. The base may be the
# official image or any other with Python 3.11 or newer and its venv module (images/build.sh makes one where there is no
# registry).
ARG BASE=docker.io/library/python:3.11-slim-bookworm
# torch is not in the locks: which build of it is a choice. For CUDA, with what GPUs alone can use:
#   --build-arg TORCH=torch==2.13.0 --build-arg TORCH_INDEX=https://pypi.org/simple --build-arg TRAINER=trainer-gpu
ARG TORCH=torch==2.13.0+cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
# The trainer's lock: trainer or trainer-gpu.
ARG TRAINER=trainer

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python3 -m venv /opt/autoglm \
    && echo /opt/app >"$(/opt/autoglm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/app.pth"
ENV PATH=/opt/autoglm/bin:$PATH
WORKDIR /source

FROM build AS app
COPY requirements/build.lock requirements/
RUN pip install --require-hashes --no-deps --requirement requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY api api
COPY store store
COPY operator operator
COPY trainer trainer
COPY serving serving
COPY cli cli
RUN pip install --no-deps --no-build-isolation --target /opt/app .

# Of Amazon's services the server speaks to S3 and to what gives credentials for it: the others' descriptions, tests, and
# byte code of what nobody imports are 75 MB.
FROM build AS build-serving
COPY requirements/serving.lock requirements/
RUN pip install --no-compile --require-hashes --no-deps --requirement requirements/serving.lock \
    && pip uninstall --yes --quiet setuptools pip \
    && cd /opt/autoglm/lib/python3*/site-packages \
    && find . -type d -name tests -prune -exec rm -r {} + \
    && find botocore/data -mindepth 1 -maxdepth 1 -type d ! -name s3 ! -name sts ! -name 'sso*' -exec rm -r {} +
COPY --from=app /opt/app /opt/app
RUN python -c 'import autoglm_serving.app, autoglm_serving.server, autoglm_serving.moves, gcsfs, s3fs, PIL.Image'

# Nobody compiles against torch here, and nobody runs its tests or those of the others: 260 MB. A file in the syntax of a
# newer Python is left without byte code, as pip leaves it.
FROM build AS build-trainer
COPY images/install_torch.sh images/
ARG TRAINER
COPY requirements/${TRAINER}.lock requirements/
ARG TORCH
ARG TORCH_INDEX
RUN pip install --no-compile --require-hashes --no-deps --requirement requirements/${TRAINER}.lock \
    && sh images/install_torch.sh "$TORCH" "$TORCH_INDEX"

# The model server for models that write texts. Jobs that copy models, and all other servers, do without torch.
FROM build AS build-serving-generation
COPY images/install_torch.sh images/
COPY requirements/serving-generation.lock requirements/
ARG TORCH
ARG TORCH_INDEX
RUN pip install --no-compile --require-hashes --no-deps --requirement requirements/serving-generation.lock \
    && sh images/install_torch.sh "$TORCH" "$TORCH_INDEX"

# The operator sends its own requests: the client's 54 MB of methods are imported by nobody. Byte code is made of what is
# imported, and of nothing else.
FROM build AS build-operator
COPY requirements/operator.lock requirements/
RUN pip install --no-compile --require-hashes --no-deps --requirement requirements/operator.lock \
    && pip uninstall --yes --quiet setuptools pip \
    && rm -r /opt/autoglm/lib/python3*/site-packages/kubernetes/client/api \
        /opt/autoglm/lib/python3*/site-packages/kubernetes/aio/client/api
COPY --from=app /opt/app /opt/app
RUN python -c 'import autoglm_operator.main'

# Libraries that ask for the user's name or home find one for every UID.
FROM ${BASE} AS runtime
ENV PATH=/opt/app/bin:/opt/autoglm/bin:$PATH HOME=/tmp USER=autoglm LOGNAME=autoglm \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /tmp
USER 65532:0
LABEL org.opencontainers.image.title="Open-AutoGLM Operator" org.opencontainers.image.licenses="Apache-2.0"

FROM runtime AS operator
COPY --from=build-operator /opt/autoglm /opt/autoglm
COPY --from=app /opt/app /opt/app
ENTRYPOINT ["autoglm-operator"]

FROM runtime AS serving
COPY --from=build-serving /opt/autoglm /opt/autoglm
COPY --from=app /opt/app /opt/app
ENTRYPOINT ["autoglm-serving"]

FROM runtime AS serving-generation
COPY --from=build-serving-generation /opt/autoglm /opt/autoglm
COPY --from=app /opt/app /opt/app
ENV HF_HOME=/tmp/hf TOKENIZERS_PARALLELISM=false
ENTRYPOINT ["autoglm-serving"]

FROM runtime AS trainer
COPY --from=build-trainer /opt/autoglm /opt/autoglm
COPY --from=app /opt/app /opt/app
ENV HF_HOME=/tmp/hf MPLCONFIGDIR=/tmp/matplotlib TOKENIZERS_PARALLELISM=false
ENTRYPOINT ["autoglm-trainer"]
