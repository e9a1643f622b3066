# syntax=docker/dockerfile:1.7
# The program as an image: one static binary, no shell, no user who may do anything. Without a command it is everything in one process:
#
#   docker build -t chatmesh:0.1.0-dev .
#   docker run -p 127.0.0.1:8080:8080 -v chatmesh:/data chatmesh:0.1.0-dev
#
# compose.yaml runs each service of it apart.

FROM golang:1.26.5-bookworm AS build
WORKDIR /src
COPY . .
# With the workspace, as "make run" builds it: its driver for ScyllaDB routes to shards.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags="-s -w" -o /out/chatmesh ./services/chatmesh
RUN mkdir /out/data

FROM scratch
ARG VERSION=0.1.0-dev
LABEL org.opencontainers.image.title="chatmesh" \
      org.opencontainers.image.description="A chat backend on NATS: the broker orders, keeps and routes every message" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/chatmesh /chatmesh
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
ENV CHATMESH_DATA=/data
ENV CHATMESH_LISTEN=0.0.0.0:8080
ENV CHATMESH_ADMIN_LISTEN=0.0.0.0:8081
EXPOSE 8080 8081
ENTRYPOINT ["/chatmesh"]
