/** Keys of Phoenix over a real connection: fetched once, followed when they change, kept when Phoenix is away. */

import assert from "node:assert/strict";
import { test, type TestContext } from "node:test";

import { createPhoenix, PhoenixError } from "@phoenix-auth/node";

import { assertion, AUDIENCE, keyServer, manualClock, serve, signer, type Signer } from "./kit.js";

const [first, second, third] = await Promise.all([signer("key-1"), signer("key-2"), signer("key-3")]);

async function start(test: TestContext, ...published: Signer[]) {
  const server = await keyServer(test, ...published);
  const clock = manualClock();
  const phoenix = createPhoenix({ audience: AUDIENCE, jwksUrl: server.url, now: clock.now });
  const result = async (by: Signer) => {
    const token = await assertion(by, {}, clock.now());
    return phoenix.require(token).then(
      () => "verified",
      (error: PhoenixError) => error.code,
    );
  };
  return { server, clock, phoenix, result };
}

/** Waits until something is so. The clock of the code under test stands still meanwhile. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000;
  while (!(await condition())) {
    assert.ok(Date.now() < end, "it did not come about in 10 s");
    await new Promise((done) => setImmediate(done));
  }
}

test("nothing is fetched before it is needed, and then once for all who wait", async (t) => {
  const { server, result } = await start(t, first);
  assert.equal(server.asked, 0);
  const results = await Promise.all(Array.from({ length: 50 }, () => result(first)));
  assert.deepEqual(new Set(results), new Set(["verified"]));
  assert.equal(server.asked, 1);
});

test("an assertion of another algorithm makes nobody fetch", async (t) => {
  const { server, phoenix } = await start(t, first);
  assert.equal(await phoenix.verify("eyJhbGciOiJub25lIn0.e30."), null);
  assert.equal(server.asked, 0);
});

test("a new key is fetched once it is used", async (t) => {
  const { server, clock, result } = await start(t, first);
  assert.equal(await result(first), "verified");
  server.published = [first, second];
  clock.pass(30);
  assert.equal(await result(second), "verified");
  assert.equal(await result(first), "verified");
  assert.equal(server.asked, 2);
});

test("made-up names of keys are a reason to fetch once in 30 s", async (t) => {
  const { server, clock, result } = await start(t, first);
  assert.equal(await result(first), "verified");
  for (let second_ = 0; second_ < 29; second_ += 1) {
    clock.pass(1);
    assert.equal(await result(third), "unknown-key");
  }
  assert.equal(server.asked, 1);
  clock.pass(1);
  await Promise.all(Array.from({ length: 20 }, () => result(third)));
  assert.equal(server.asked, 2);
  assert.equal(await result(third), "unknown-key");
  assert.equal(server.asked, 2);
  clock.pass(30);
  assert.equal(await result({ ...third, kid: "k".repeat(129) }), "unknown-key");
  assert.equal(server.asked, 2, "no key of Phoenix has so long a name");
});

test("keys are fetched again beside the requests, and a key that is gone ends", async (t) => {
  const { server, clock, result } = await start(t, first, second);
  assert.equal(await result(second), "verified");
  server.published = [first];
  clock.pass(239);
  assert.equal(await result(second), "verified");
  assert.equal(server.asked, 1);
  clock.pass(1);
  assert.equal(await result(second), "verified", "no request waits for it");
  await until(async () => (await result(second)) === "unknown-key");
  assert.equal(await result(first), "verified");
  assert.equal(server.asked, 2);
});

test("a key that is gone does not count once more after a quiet time", async (t) => {
  const { server, clock, result } = await start(t, first, second);
  assert.equal(await result(second), "verified");
  server.published = [first];
  clock.pass(300);
  const results = await Promise.all(Array.from({ length: 20 }, () => result(second)));
  assert.deepEqual(new Set(results), new Set(["unknown-key"]));
  assert.equal(await result(first), "verified");
  assert.equal(server.asked, 2);
});

test("no request waits for a fetch that it can do without", async () => {
  const clock = manualClock();
  let asked = 0;
  const phoenix = createPhoenix({
    audience: AUDIENCE,
    jwksUrl: "http://phoenix.invalid/",
    now: clock.now,
    fetch: () => {
      asked += 1;
      return asked === 1 ? Promise.resolve(Response.json({ keys: [first.jwk] })) : new Promise<Response>(() => {});
    },
  });
  const verify = async () => phoenix.verify(await assertion(first, {}, clock.now()));
  assert.ok(await verify());
  clock.pass(240);
  // This would never end if it waited.
  assert.ok(await verify());
  assert.equal(asked, 2);
});

test("a fetch that was frozen is forgotten", async () => {
  const clock = manualClock();
  let asked = 0;
  const phoenix = createPhoenix({
    audience: AUDIENCE,
    jwksUrl: "http://phoenix.invalid/",
    now: clock.now,
    fetch: () => {
      asked += 1;
      return asked === 1 ? new Promise<Response>(() => {}) : Promise.resolve(Response.json({ keys: [first.jwk] }));
    },
  });
  const token = await assertion(first);
  void phoenix.verify(token);
  await until(() => asked === 1);
  clock.pass(10);
  assert.ok(await phoenix.verify(token));
  assert.equal(asked, 2);
});

test("keys are kept for a day when Phoenix is away", async (t) => {
  const { server, clock, result } = await start(t, first);
  assert.equal(await result(first), "verified");
  server.instead = (_request, response) => void response.destroy();
  for (let minutes = 0; minutes < 24 * 60 - 1; minutes += 30) {
    assert.equal(await result(first), "verified");
    clock.pass(30 * 60);
  }
  assert.equal(await result(first), "keys-unavailable");
  server.instead = undefined;
  clock.pass(2);
  assert.equal(await result(first), "verified");
});

test("while Phoenix is away, nobody can say whether a key is new", async (t) => {
  const { server, clock, result } = await start(t, first);
  assert.equal(await result(first), "verified");
  server.instead = (_request, response) => void response.destroy();
  clock.pass(30);
  assert.equal(await result(second), "keys-unavailable");
  assert.equal(await result(first), "verified");
  server.instead = undefined;
  server.published = [first, second];
  clock.pass(30);
  assert.equal(await result(second), "verified");
  assert.equal(await result(third), "unknown-key", "now it can be said");
});

test("without any key, Phoenix is asked every 2 s", async (t) => {
  const { server, clock, result } = await start(t, first);
  server.instead = (_request, response) => void response.writeHead(503).end();
  await Promise.all(Array.from({ length: 20 }, () => result(first)));
  assert.equal(await result(first), "keys-unavailable");
  assert.equal(server.asked, 1);
  clock.pass(2);
  server.instead = undefined;
  assert.equal(await result(first), "verified");
  assert.equal(server.asked, 2);
});

test("a clock that is set back does not keep old keys", async (t) => {
  const { server, clock, result } = await start(t, first);
  assert.equal(await result(first), "verified");
  clock.pass(-3600);
  assert.equal(await result(first), "verified");
  await until(() => server.asked === 2);
});

test("what is no key set is not believed", async (t) => {
  const evil = await serve(t, (_request, response) => void response.end(JSON.stringify({ keys: [first.jwk] })));
  const json = (body: unknown) => JSON.stringify(body);
  const { d: _none, ...point } = first.jwk;
  const bodies: Record<string, string> = {
    "no JSON": "<html>",
    "no object": "[]",
    "no list": json({ keys: { 0: first.jwk } }),
    "no keys": json({ keys: [] }),
    "strange elements": json({ keys: [null, 7, "x", []] }),
    "another curve": json({ keys: [{ ...point, crv: "P-384" }] }),
    "another algorithm": json({ keys: [{ ...point, alg: "ES384" }] }),
    "for encryption": json({ keys: [{ ...point, use: "enc" }] }),
    "a shared secret": json({ keys: [{ kty: "oct", k: "c2VjcmV0", kid: "key-1", alg: "ES256" }] }),
    "not on the curve": json({ keys: [{ ...point, x: point.y, y: point.x }] }),
    "no name": json({ keys: [{ ...point, kid: undefined }] }),
    "too long": json({ keys: [first.jwk], padding: "x".repeat(65_536) }),
  };
  for (const [what, body] of Object.entries(bodies)) {
    const { server, result } = await start(t);
    server.instead = (_request, response) => void response.end(body);
    assert.equal(await result(first), "keys-unavailable", what);
  }
  const answers = await start(t, first);
  answers.server.instead = (_request, response) => {
    response.writeHead(404).end(JSON.stringify({ keys: [first.jwk] }));
  };
  assert.equal(await answers.result(first), "keys-unavailable", "another status");
  const { server, result } = await start(t);
  server.instead = (_request, response) => void response.writeHead(302, { location: evil.href }).end();
  assert.equal(await result(first), "keys-unavailable", "a redirect");
});

test("an endless key set is given up", async (t) => {
  const { server, result } = await start(t);
  let sent = 0;
  server.instead = (_request, response) => {
    const more = () => {
      sent += 16_384;
      if (!response.destroyed) response.write("x".repeat(16_384), () => setImmediate(more));
    };
    more();
  };
  assert.equal(await result(first), "keys-unavailable");
  assert.ok(sent < 64 * 1024 * 1024);
});

test("strange keys beside ours do no harm", async (t) => {
  const { server, result } = await start(t);
  const keys = [null, { kty: "RSA", kid: "key-1" }, first.jwk, { ...second.jwk, key_ops: ["sign"] }];
  server.instead = (_request, response) => void response.end(JSON.stringify({ keys }));
  assert.equal(await result(first), "verified");
  assert.equal(await result(second), "verified");
});
