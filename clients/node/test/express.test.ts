/** A real Express application over loopback. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { createPhoenix } from "@phoenix-auth/node";
import { phoenixIdentity, requireIdentity } from "@phoenix-auth/node/express";
import express from "express";

import { assertion, AUDIENCE, keyServer, manualClock, serve, signer } from "./kit.js";

const ours = await signer("key-1");

async function start(t: TestContext) {
  const keys = await keyServer(t, ours);
  const { now } = manualClock();
  const app = express();
  app.get("/unprepared", requireIdentity());
  app.use(phoenixIdentity(createPhoenix({ audience: AUDIENCE, jwksUrl: keys.url, now })));
  app.get("/who", (request, response) => void response.json({ who: request.phoenix?.email ?? null }));
  app.get("/mine", requireIdentity(), (request, response) => void response.json({ id: request.phoenix?.userId }));
  app.get("/admin", requireIdentity({ roles: ["admin"] }), (_request, response) => void response.json({}));
  const failures: unknown[] = [];
  app.use(((error, _request, response, _next) => {
    failures.push(error);
    response.status(500).end();
  }) satisfies express.ErrorRequestHandler);
  const root = await serve(t, app);
  const get = (path: string, headers: Record<string, string> = {}) => fetch(new URL(path, root), { headers });
  return { get, keys, failures };
}

async function assertProblem(response: Response, status: number, code: string): Promise<void> {
  assert.equal(response.status, status);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  assert.equal(response.headers.get("cache-control"), "no-store");
  const body = (await response.json()) as Record<string, unknown>;
  assert.deepEqual([body["status"], body["code"], body["success"]], [status, code, false]);
  assert.equal(body["type"], `urn:phoenix:problem:${code}`);
}

test("the caller is known", async (t) => {
  const { get } = await start(t);
  const headers = { "X-Phoenix-Assertion": await assertion(ours) };
  assert.deepEqual(await (await get("/who", headers)).json(), { who: "ada@example.com" });
  const mine = await get("/mine", headers);
  assert.equal(mine.status, 200);
  assert.deepEqual(await mine.json(), { id: "01936f2e-0000-7000-8000-000000000001" });
});

test("nobody gets in without an assertion", async (t) => {
  const { get } = await start(t);
  const forged = { "X-Phoenix-User-Id": "1", "X-Phoenix-Role": "admin", "X-Phoenix-Assertion": "x.y.z" };
  for (const headers of [{}, forged]) {
    assert.deepEqual(await (await get("/who", headers)).json(), { who: null });
    const refused = await get("/mine", headers);
    assert.equal(refused.headers.get("www-authenticate"), 'Bearer realm="phoenix"');
    await assertProblem(refused, 401, "unauthenticated");
    await assertProblem(await get("/admin", headers), 401, "unauthenticated");
  }
});

test("the role decides", async (t) => {
  const { get } = await start(t);
  const as = async (role: string) => ({ "x-phoenix-assertion": await assertion(ours, { role }) });
  await assertProblem(await get("/admin", await as("user")), 403, "forbidden");
  assert.equal((await get("/admin", await as("admin"))).status, 200);
});

test("without keys nobody is refused for good", async (t) => {
  const { get, keys } = await start(t);
  keys.instead = (_request, response) => void response.destroy();
  const headers = { "x-phoenix-assertion": await assertion(ours) };
  const refused = await get("/mine", headers);
  assert.equal(refused.headers.get("retry-after"), "2");
  await assertProblem(refused, 503, "unavailable");
  await assertProblem(await get("/mine"), 401, "unauthenticated");
});

test("a guard without the identity before it is a mistake that shows", async (t) => {
  const { get, failures } = await start(t);
  assert.equal((await get("/unprepared")).status, 500);
  assert.match(String(failures[0]), /phoenixIdentity must come before/);
});
