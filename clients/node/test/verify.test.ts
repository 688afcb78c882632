/** What counts as an assertion, and what does not. */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";

import { createPhoenix, MAX_ASSERTION_LENGTH, PhoenixError, type PhoenixErrorCode } from "@phoenix-auth/node";
import { exportSPKI, generateKeyPair, importJWK, SignJWT, type CryptoKey } from "jose";

import { assertion, AUDIENCE, claims, forge, ISSUER, LIFETIME_SECONDS, NOON, signer } from "./kit.js";

const ours = await signer("key-1");
const stranger = await signer("key-1");
const base = { audience: AUDIENCE, issuer: ISSUER, keys: { keys: [ours.jwk] } };
const phoenix = createPhoenix({ ...base, now: () => NOON });

const expected = {
  userId: "01936f2e-0000-7000-8000-000000000001",
  email: "ada@example.com",
  emailVerified: true,
  role: "user",
  sessionId: "01936f2e-0000-7000-8000-000000000002",
  expiresAt: new Date(NOON + LIFETIME_SECONDS * 1000),
};

async function codeOf(source: Parameters<typeof phoenix.require>[0], verifier = phoenix): Promise<string> {
  const error: unknown = await verifier.require(source).then(
    () => assert.fail("it was believed"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof PhoenixError);
  assert.equal(error.status, error.code === "keys-unavailable" ? 503 : 401);
  assert.equal(await verifier.verify(source), null, "verify and require must agree");
  return error.code;
}

test("an assertion is found in every kind of headers", async () => {
  const token = await assertion(ours);
  const sources = [token, new Headers({ "X-Phoenix-Assertion": token }), { "x-phoenix-assertion": token }];
  for (const source of sources) {
    assert.deepEqual(await phoenix.verify(source), expected);
    assert.deepEqual(await phoenix.require(source), expected);
  }
});

test("plain headers prove nothing", async () => {
  const forged = { "x-phoenix-user-id": "admin", "x-phoenix-role": "admin", "x-phoenix-email": "a@b.c" };
  assert.equal(await codeOf(new Headers(forged)), "missing");
  assert.equal(await codeOf(forged), "missing");
  // Beside a real assertion, they change nothing.
  const both = { ...forged, "x-phoenix-assertion": await assertion(ours) };
  assert.deepEqual(await phoenix.verify(both), expected);
});

test("two assertions are none", async () => {
  const token = await assertion(ours);
  const headers = new Headers({ "x-phoenix-assertion": token });
  headers.append("x-phoenix-assertion", token);
  assert.equal(await codeOf(headers), "malformed");
  assert.equal(await codeOf({ "x-phoenix-assertion": [token, token] }), "malformed");
});

test("only claims that are right count", async () => {
  const now = Math.floor(NOON / 1000);
  const table: [PhoenixErrorCode, Record<string, unknown>][] = [
    ["wrong-audience", { aud: "another" }],
    ["wrong-audience", { aud: ["another", "third"] }],
    ["wrong-audience", { aud: "Planner" }],
    ["bad-claims", { aud: undefined }],
    ["wrong-issuer", { iss: "https://evil.example" }],
    ["bad-claims", { iss: undefined }],
    ["expired", { exp: now - 31 }],
    ["bad-claims", { exp: undefined }],
    ["bad-claims", { exp: "soon" }],
    ["not-yet-valid", { nbf: now + 31 }],
    ["bad-claims", { iat: undefined }],
    ["bad-claims", { sub: undefined }],
    ["bad-claims", { sub: "" }],
    ["bad-claims", { sid: undefined }],
    ["bad-claims", { sid: 7 }],
    ["bad-claims", { email: 7 }],
    ["bad-claims", { email: null }],
    ["bad-claims", { email_verified: undefined }],
    ["bad-claims", { email_verified: "true" }],
    ["bad-claims", { role: undefined }],
    ["bad-claims", { role: ["admin"] }],
  ];
  for (const [code, change] of table) {
    assert.equal(await codeOf(await assertion(ours, change)), code, JSON.stringify(change));
  }
});

test("clocks may differ by half a minute, no more", async () => {
  const token = await assertion(ours);
  const at = (seconds: number) => createPhoenix({ ...base, now: () => NOON + seconds * 1000 });
  assert.ok(await at(LIFETIME_SECONDS + 29).verify(token));
  assert.equal(await codeOf(token, at(LIFETIME_SECONDS + 30)), "expired");
  const early = await assertion(ours, { nbf: Math.floor(NOON / 1000) });
  assert.ok(await at(-30).verify(early));
  assert.equal(await codeOf(early, at(-31)), "not-yet-valid");
});

test("the issuer is compared only if it is given, one of several audiences is enough", async () => {
  const anyIssuer = createPhoenix({ audience: AUDIENCE, keys: base.keys, now: () => NOON });
  assert.ok(await anyIssuer.verify(await assertion(ours, { iss: "phoenix" })));
  assert.ok(await phoenix.verify(await assertion(ours, { aud: ["another", AUDIENCE] })));
});

test("only ES256 by a key of Phoenix counts", async () => {
  const header = { alg: "ES256", typ: "JWT", kid: "key-1" };
  const good = await assertion(ours);
  const [head = "", body = "", signature = ""] = good.split(".");
  const hmac = async (secret: string | Buffer) => {
    const unsigned = forge({ ...header, alg: "HS256" }, claims()).slice(0, -1);
    return `${unsigned}.${createHmac("sha256", secret).update(unsigned).digest("base64url")}`;
  };
  const spki = await exportSPKI((await importJWK(ours.jwk, "ES256", { extractable: true })) as CryptoKey);
  const otherCurve = await generateKeyPair("ES384");
  const rsa = await generateKeyPair("RS256");
  const signedAs = (alg: string, key: CryptoKey) =>
    new SignJWT(claims()).setProtectedHeader({ alg, kid: "key-1" }).sign(key);
  const own = { ...stranger.jwk, kid: "key-1" };
  const flipped = `${signature.startsWith("A") ? "B" : "A"}${signature.slice(1)}`;
  const table: [PhoenixErrorCode, string, string][] = [
    ["wrong-algorithm", "alg none", forge({ ...header, alg: "none" }, claims())],
    ["wrong-algorithm", "alg none, signature kept", forge({ ...header, alg: "none" }, claims(), signature)],
    ["wrong-algorithm", "alg None", forge({ ...header, alg: "None" }, claims())],
    ["malformed", "no alg", forge({ kid: "key-1" }, claims(), signature)],
    ["wrong-algorithm", "HS256 with the public key as PEM", await hmac(spki)],
    ["wrong-algorithm", "HS256 with the public point", await hmac(Buffer.from(String(ours.jwk.x), "base64url"))],
    ["wrong-algorithm", "HS256 with the key as JSON", await hmac(JSON.stringify(ours.jwk))],
    ["wrong-algorithm", "ES384", await signedAs("ES384", otherCurve.privateKey)],
    ["wrong-algorithm", "RS256", await signedAs("RS256", rsa.privateKey)],
    ["bad-signature", "a stranger's key of the same name", await assertion(stranger)],
    [
      "bad-signature",
      "a stranger's key that came along",
      await new SignJWT(claims()).setProtectedHeader({ ...header, jwk: own }).sign(stranger.privateKey),
    ],
    ["unknown-key", "another name", await assertion({ ...ours, kid: "key-2" })],
    ["unknown-key", "no name", await new SignJWT(claims()).setProtectedHeader({ alg: "ES256" }).sign(ours.privateKey)],
    ["unknown-key", "a name that every object has", await assertion({ ...ours, kid: "__proto__" })],
    ["unknown-key", "a long name", await assertion({ ...ours, kid: "k".repeat(129) })],
    [
      "bad-signature",
      "other claims",
      `${head}.${forge({}, { ...claims(), role: "admin" }).split(".")[1]}.${signature}`,
    ],
    ["bad-signature", "a changed signature", `${head}.${body}.${flipped}`],
    ["bad-signature", "half a signature", `${head}.${body}.${signature.slice(0, 43)}`],
    ["bad-signature", "no signature", `${head}.${body}.`],
    ["malformed", "two parts", `${head}.${body}`],
    ["malformed", "four parts", `${good}.`],
    ["malformed", "no JWT", "Bearer"],
    ["malformed", "no base64", "%%%.%%%.%%%"],
    ["malformed", "a header that is no JSON", `${Buffer.from("{").toString("base64url")}.${body}.${signature}`],
    ["malformed", "with a scheme", `Bearer ${good}`],
    ["malformed", "critical header fields", forge({ ...header, crit: ["x"], x: 1 }, claims(), signature)],
    ["too-large", "long", `${head}.${body}.${"A".repeat(MAX_ASSERTION_LENGTH)}`],
    ["missing", "nothing", ""],
  ];
  for (const [code, what, token] of table) assert.equal(await codeOf(token), code, what);
});

test("the message says nothing of the assertion", async () => {
  const token = await assertion(ours, { aud: "secret-audience" });
  await assert.rejects(phoenix.require(token), (error: Error) => {
    assert.ok(!error.message.includes("secret-audience"));
    return true;
  });
});

test("failures are reported, missing assertions are not", async () => {
  const reported: string[] = [];
  const watched = createPhoenix({ ...base, now: () => NOON, onFailure: ({ code }) => void reported.push(code) });
  await watched.verify({});
  await watched.verify("x.y.z");
  await watched.verify(await assertion(ours));
  await watched.verify(await assertion(stranger));
  assert.deepEqual(reported, ["malformed", "bad-signature"]);
});

test("options that would verify nothing are refused", () => {
  const keys = base.keys;
  const table: [RegExp, unknown][] = [
    [/audience/, { keys }],
    [/audience/, { keys, audience: "" }],
    [/issuer/, { keys, audience: "a", issuer: "" }],
    [/either jwksUrl or keys/, { audience: "a" }],
    [/either jwksUrl or keys/, { audience: "a", keys, jwksUrl: "http://phoenix/" }],
    [/http/, { audience: "a", jwksUrl: "file:///etc/passwd" }],
    [/URL/, { audience: "a", jwksUrl: "phoenix" }],
  ];
  for (const [message, options] of table) {
    assert.throws(() => createPhoenix(options as Parameters<typeof createPhoenix>[0]), message);
  }
});

test("given keys that are none are an outage, not a refusal", async () => {
  const secret = { kty: "oct", k: "AAAA", kid: "key-1" };
  for (const keys of [{ keys: [] }, { keys: [secret] }, {} as { keys: [] }]) {
    const broken = createPhoenix({ audience: AUDIENCE, keys, now: () => NOON });
    assert.equal(await codeOf(await assertion(ours), broken), "keys-unavailable");
  }
});
