# The image of every process of the gateway: API (the default command), worker, orchestrator, jobs.
# Only plain Dockerfile syntax, so that docker, podman and buildah all build it.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# -- builder: has pip; nothing of it but /opt/venv goes on --------------------------------------------
FROM ${PYTHON_IMAGE} AS builder
# LOCAL_LLM=false leaves out the weights of the embedded language model (about 100 MB).
ARG LOCAL_LLM=true
# A mirror of your own, where the build machine has no other way to packages.
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/venv
COPY requirements.txt requirements-llm.txt ./
RUN /opt/venv/bin/pip install --require-hashes --only-binary :all: -r requirements.txt
RUN if [ "$LOCAL_LLM" = "true" ]; then \
      /opt/venv/bin/pip install --require-hashes --only-binary :all: --no-deps -r requirements-llm.txt; \
    fi
# LightGBM and llama.cpp look for the system's OpenMP library, which a slim image has not; the copy in
# scikit-learn's wheel is put under that name, so that the last stage needs no package manager.
RUN mkdir /opt/venv/lib/native \
 && ln -s /opt/venv/lib/python3*/site-packages/scikit_learn.libs/libgomp*.so* /opt/venv/lib/native/libgomp.so.1 \
 && LD_LIBRARY_PATH=/opt/venv/lib/native /opt/venv/bin/python -c "import lightgbm, xllamacpp" \
 && printf '#!/bin/sh\nexec python -P -m gateway.cli.main "$@"\n' > /opt/venv/bin/ai-gateway \
 && chmod 0755 /opt/venv/bin/ai-gateway \
 && /opt/venv/bin/pip uninstall --yes setuptools pip

# -- what runs -----------------------------------------------------------------------------------------
FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="gnanam-ai-gateway" \
      org.opencontainers.image.licenses="MIT"
ENV PATH=/opt/venv/bin:$PATH \
    LD_LIBRARY_PATH=/opt/venv/lib/native \
    PYTHONPATH=/app/src \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/tmp \
    AI_GATEWAY_PORT=8001 \
    GATEWAY_CONFIG_DIR=/app/config \
    GATEWAY_DATA_DIR=/data
RUN mkdir /data && chown 10001:10001 /data && chmod 0700 /data
WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY config/ ./config/
COPY src/ ./src/
# Compiled here because the root file system is read-only when it runs.
RUN python -m compileall -q src
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=4s --start-period=90s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['AI_GATEWAY_PORT'] + '/healthz', timeout=3)"]
CMD ["python", "src/ai_gateway.py"]
