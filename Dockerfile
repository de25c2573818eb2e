# One image for `rollonce serve`, `rollonce controller` and all other commands.
#
#   docker build -t rollonce:0.1.0 .

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/rollonce
# Dependencies come first: they change less often than the code, so their layer stays in the build cache.
COPY deploy/requirements.txt deploy/requirements.txt
RUN /opt/rollonce/bin/python -m pip install --require-hashes --only-binary :all: -r deploy/requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY webhook webhook
COPY certs certs
RUN python -m pip wheel --no-deps --wheel-dir dist . \
    && /opt/rollonce/bin/python -m pip install --no-deps --no-index dist/*.whl \
    && /opt/rollonce/bin/python -m compileall -q /opt/rollonce/lib \
    && /opt/rollonce/bin/python -m pip uninstall --yes --quiet pip

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="rollonce" \
      org.opencontainers.image.description="One rollout for each change of configuration, one run for each delivery." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/rollonce /opt/rollonce
ENV PATH=/opt/rollonce/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A numeric user id, because Kubernetes cannot verify that a user given by name is not root. It owns no files.
USER 65532:65532
EXPOSE 8443 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["rollonce"]
CMD ["serve"]
