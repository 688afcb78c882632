# The example application (examples/nextjs). Built from the root of the repository, because it uses clients/node.
FROM node:20-bookworm-slim AS build
ENV NEXT_TELEMETRY_DISABLED=1
WORKDIR /source
COPY clients/node clients/node
RUN cd clients/node && npm ci && npm run build
COPY examples/nextjs examples/nextjs
RUN cd examples/nextjs && npm ci && npm run build

FROM node:20-bookworm-slim
ENV NODE_ENV=production NEXT_TELEMETRY_DISABLED=1
WORKDIR /source/examples/nextjs
COPY --from=build /source /source
USER node
EXPOSE 3000
CMD ["node", "server.mjs"]
