/** Serves the application: Next.js, the WebSocket at `/api/ws`, and one log line (JSON) a request. */

import { createServer } from "node:http";

import { createPhoenix } from "@phoenix-auth/node";
import next from "next";
import { WebSocketServer } from "ws";

const hostname = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 3000);
const phoenix = createPhoenix({
  audience: process.env.PHOENIX_AUDIENCE ?? "app",
  jwksUrl: process.env.PHOENIX_JWKS_URL ?? "http://127.0.0.1:8080/.well-known/jwks.json",
});

/** Most bytes of one WebSocket message. */
const MAX_MESSAGE_BYTES = 64 * 1024;
/** Most open WebSockets. */
const MAX_SOCKETS = 1_000;
/** A WebSocket is closed after this many milliseconds. The page opens a new one, for which Phoenix asks again. */
const SOCKET_LIFE_MS = 5 * 60_000;

const log = (line) => process.stdout.write(`${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`);

/** Who calls, and in which headers Phoenix, or somebody else, said so. */
async function describe({ method, url, headers }) {
  // Before anything is awaited: Next.js changes the headers.
  const arrived = {
    method,
    path: url.split("?", 1)[0],
    requestId: headers["x-request-id"],
    phoenixHeaders: Object.keys(headers).filter((name) => /^x[-_]phoenix[-_]/.test(name)),
    userIdHeader: headers["x-phoenix-user-id"],
  };
  const identity = await phoenix.verify(headers);
  if (!identity) return { ...arrived, identity };
  const { userId, email, role, sessionId } = identity;
  return { ...arrived, identity: { userId, email, role, sessionId } };
}

const app = next({ dev: false, dir: import.meta.dirname, hostname, port });
await app.prepare();
const handle = app.getRequestHandler();

const server = createServer((request, response) => {
  const described = describe(request);
  response.once("close", async () => {
    log({ event: "request", ...(await described), status: response.statusCode, whole: response.writableFinished });
  });
  handle(request, response).catch((error) => {
    console.error(error);
    response.destroy();
  });
});

// Longer than Phoenix keeps a connection that nobody uses, so that it never sends a request into one that is closing.
server.keepAliveTimeout = 90_000;

const sockets = new WebSocketServer({ noServer: true, maxPayload: MAX_MESSAGE_BYTES });
server.on("upgrade", async (request, socket, head) => {
  socket.on("error", () => socket.destroy());
  const described = await describe(request);
  const refuse = (status) => {
    log({ event: "upgrade", ...described, status });
    socket.end(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  };
  if (described.path !== "/api/ws") return refuse(404);
  if (!described.identity) return refuse(401);
  if (sockets.clients.size >= MAX_SOCKETS) return refuse(503);
  sockets.handleUpgrade(request, socket, head, (connection) => {
    log({ event: "upgrade", ...described, status: 101 });
    const end = setTimeout(() => connection.close(4401, "sign in again"), SOCKET_LIFE_MS);
    connection.on("close", () => clearTimeout(end));
    connection.on("error", () => connection.terminate());
    connection.on("message", (data, isBinary) => {
      connection.send(isBinary ? data : `${described.identity.email}: ${data}`, { binary: isBinary });
    });
  });
});

server.listen(port, hostname, () => log({ event: "listening", hostname, port: server.address().port }));

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    for (const connection of sockets.clients) connection.close(1001);
    server.close(() => process.exit(0));
    server.closeAllConnections();
  });
}
