# The container image: one static binary and a folder for data, nothing else. No shell, no package, no root.
#
#   docker build -t phoenix .
#   docker run -p 8080:8080 -v phoenix-data:/data phoenix
#
# docs/operations/install.md says how it is configured.

FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY . .
# The binary that is given away: no file of the image is needed, and it is compiled by a profile of how it runs, which is
# made here. With `--no-profile` that takes half the time.
RUN cargo xtask dist --no-check --out /out && mkdir /out/data

FROM scratch
LABEL org.opencontainers.image.title="Phoenix" \
      org.opencontainers.image.description="Authentication and API protection in one binary" \
      org.opencontainers.image.source="https://github.com/phoenix-auth/phoenix" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /out/phoenix /phoenix
COPY --from=build --chown=65532:65532 /out/data /data
USER 65532:65532
# Only what differs from the defaults. The embedded database is in /data; with DATABASE_URL nothing is written there.
ENV PHOENIX_LISTEN=0.0.0.0:8080 \
    PHOENIX_DATA_DIR=/data
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# Asks /readyz. The first start of a large database may take long: it is migrated.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/phoenix", "health"]
ENTRYPOINT ["/phoenix"]
CMD ["serve"]
