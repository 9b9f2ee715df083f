# at-functions in a small image: built from the locked dependencies, run by a user without rights.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin at-functions

FROM debian:bookworm-slim
# The certificates that outgoing https is checked against.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin functions \
    && install --directory --mode 0700 --owner functions --group functions /data
COPY --from=build /src/target/release/at-functions /usr/local/bin/at-functions

USER functions
VOLUME /data
# Within the container all addresses are its own; what is published is the operator's choice.
ENV AT_FUNCTIONS_LISTEN=0.0.0.0:3000 \
    AT_FUNCTIONS_ADMIN_LISTEN=0.0.0.0:3001 \
    AT_FUNCTIONS_DATA_DIR=/data \
    AT_FUNCTIONS_LOG_FORMAT=json
EXPOSE 3000 3001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 CMD ["at-functions", "health"]
ENTRYPOINT ["at-functions"]
CMD ["serve"]
