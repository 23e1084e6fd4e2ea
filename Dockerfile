# musigan on a CPU:
#
#   docker build -t musigan .
#   docker run --rm -v ~/Music:/music:ro -v "$PWD":/work musigan music /music new.mp3
#
# torch for CPUs alone is a third of the size; where your index has it under another URL, name that:
# docker build --build-arg PIP_EXTRA_INDEX_URL=... .
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels /source

FROM python:${PYTHON}-slim
ARG PIP_EXTRA_INDEX_URL=""
RUN apt-get update \
    && apt-get install --no-install-recommends -y ffmpeg \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
RUN PIP_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL}" pip install --no-cache-dir -c /wheels/constraints.txt /wheels/*.whl \
    && rm -r /wheels \
    && useradd --create-home musician
USER musician
WORKDIR /work
ENTRYPOINT ["musigan"]
CMD ["--help"]
