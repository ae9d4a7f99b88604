# syntax=docker/dockerfile:1
#
# light: producer, reader, and worker with the fused engine (CPU); jobs in buckets; import of Keras and ONNX files
# heavy: also TensorFlow with CUDA, for GPUs, `unrolled model fit` and `unrolled demo`
#
#   docker build --target light -t unrolled:light .
#   docker build --target heavy -t unrolled:heavy .

FROM python:3.12-slim AS runtime
RUN useradd --uid 1000 --create-home unrolled && install --directory --owner=unrolled /data
ENV PATH=/opt/unrolled/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /data

FROM runtime AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# Without the kernel, workers of the image `light` have no engine: a build that can't compile it fails.
RUN --mount=type=cache,target=/root/.cache/pip UNROLLED_REQUIRE_KERNEL=1 pip wheel --no-deps --wheel-dir /wheels .

FROM runtime AS light
COPY constraints.txt /opt/
RUN python -m venv /opt/unrolled
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --constraint /opt/constraints.txt "$(echo /wheels/unrolled-*.whl)[producer,worker,cloud,import,metrics,tracing]"
# Compose may run it as a user without a home directory.
ENV HOME=/tmp
USER unrolled
CMD ["unrolled", "--help"]

FROM runtime AS heavy
COPY constraints.txt /opt/
RUN python -m venv /opt/unrolled
# A separate layer, before the wheel: TensorFlow is large and rarely changes.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --constraint /opt/constraints.txt "tensorflow[and-cuda]"
RUN --mount=type=cache,target=/root/.cache/pip \
    --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --constraint /opt/constraints.txt "$(echo /wheels/unrolled-*.whl)[producer,worker,cloud,import,metrics,tracing]"
# Compose may run it as a user without a home directory.
ENV HOME=/tmp
USER unrolled
CMD ["unrolled", "--help"]
