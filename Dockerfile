# minim in a container: built with a compiler, run without one.
#
#   docker build -t minim .
#   docker run --init --read-only -v ./minim:/etc/minim:ro -v minim-state:/var/lib/minim -e MINIM_MASTER_KEY -p 50051:50051 minim
#
# Settings for it: `keys.store: /var/lib/minim/keys.json`, `spool.path: /var/lib/minim/spool`, `grpc.listen: 0.0.0.0:50051`. Nothing else is
# written, but for the sockets of several workers: `--tmpfs /tmp` then.
# Files of secrets belong to its user, and nobody else may read them: `chown 10001`, `chmod 600`.
# The `RUN npm run docker:…` lines are package scripts: .ci/run reads them from here and runs them in a clean clone.
FROM node:24-bookworm-slim AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3 make g++ libssl-dev zlib1g-dev ca-certificates \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# The compiled librdkafka stays in its layer as long as the lock file does.
COPY package.json package-lock.json ./
RUN npm run docker:install
COPY . .
RUN npm run docker:build
RUN npm run docker:prune

FROM node:24-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends libssl3 zlib1g ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && install -d -o 10001 -g 10001 -m 700 /var/lib/minim
WORKDIR /app
COPY --from=build /app/package.json ./package.json
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/proto ./proto
COPY --from=build /app/config ./config
COPY --from=build /app/dist/src ./dist/src
# A library that is missing here fails the build, not the first start.
RUN node -e "require('node-rdkafka')" && ln -s /app/dist/src/cli/main.js /usr/local/bin/minim && chmod 755 dist/src/cli/main.js
ENV NODE_ENV=production MINIM_OPS_PORT=9464
USER 10001:10001
VOLUME /var/lib/minim
EXPOSE 50051 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.MINIM_OPS_PORT}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# SIGTERM commits what was taken and exits 0; it may take 40 s: `docker stop --time 45`.
ENTRYPOINT ["minim"]
CMD ["run", "--config", "/etc/minim/minim.yaml"]
