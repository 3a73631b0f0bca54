# The images of this project, for those who have Docker; `cargo xtask images` makes the same ones without.
#
#   docker build --target groupcache-node --tag groupcache-node .
#
# One target for each image: groupcache-operator, groupcache-unicode-loader, groupcachectl, groupcache-node.

ARG RUST=1.95

FROM rust:${RUST}-slim-bookworm AS build
WORKDIR /source
COPY . .
# Static, because the images hold nothing but the program. The explicit target spares the build's own macros the flag.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
    && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
        --package groupcache-node --bin groupcache-node \
        --package groupcache-operator --bin groupcache-operator \
        --package groupcache-examples --bin unicode-loader \
        --package groupcache-client --bin groupcachectl \
    && mkdir /programs \
    && cd "target/$target/release" \
    && cp groupcache-node groupcache-operator unicode-loader groupcachectl /programs/

FROM scratch AS groupcache-operator
COPY --from=build /programs/groupcache-operator /groupcache-operator
USER 65532:65532
ENTRYPOINT ["/groupcache-operator"]

FROM scratch AS groupcache-unicode-loader
COPY --from=build /programs/unicode-loader /unicode-loader
USER 65532:65532
ENTRYPOINT ["/unicode-loader"]

FROM scratch AS groupcachectl
COPY --from=build /programs/groupcachectl /groupcachectl
USER 65532:65532
ENTRYPOINT ["/groupcachectl"]

# Last, so that a build without a target makes the node.
FROM scratch AS groupcache-node
COPY --from=build /programs/groupcache-node /groupcache-node
USER 65532:65532
ENTRYPOINT ["/groupcache-node"]
