/** What the tests share: keys, assertions as Phoenix makes them, and a Phoenix that publishes its keys and can fail. */

import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

import { type CryptoKey, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from "jose";

export const AUDIENCE = "planner";
export const ISSUER = "https://planner.example";
/** 2026-11-23 12:00 UTC in milliseconds. */
export const NOON = Date.UTC(2026, 10, 23, 12);
export const LIFETIME_SECONDS = 60;

export interface Signer {
  kid: string;
  privateKey: CryptoKey;
  jwk: JWK;
}

export async function signer(kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  return { kid, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig" } };
}

export function claims(at = NOON): JWTPayload {
  const iat = Math.floor(at / 1000);
  return {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: "01936f2e-0000-7000-8000-000000000001",
    sid: "01936f2e-0000-7000-8000-000000000002",
    email: "ada@example.com",
    email_verified: true,
    role: "user",
    iat,
    exp: iat + LIFETIME_SECONDS,
  };
}

/** An assertion; `change` replaces claims, and removes those that are undefined. */
export function assertion(by: Signer, change: JWTPayload = {}, at = NOON): Promise<string> {
  return new SignJWT({ ...claims(at), ...change })
    .setProtectedHeader({ alg: "ES256", typ: "JWT", kid: by.kid })
    .sign(by.privateKey);
}

/** A JWT with these parts, whatever they are. */
export function forge(header: object, payload: object, signature = ""): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part(header)}.${part(payload)}.${signature}`;
}

/** Serves on a free port of loopback until the test ends. */
export async function serve(test: TestContext, listener: RequestListener): Promise<URL> {
  const server: Server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
}

/** The part of Phoenix that publishes keys. */
export interface KeyServer {
  url: URL;
  /** How often it was asked. */
  asked: number;
  /** What it publishes. */
  published: Signer[];
  /** What it answers instead, if anything. */
  instead: RequestListener | undefined;
}

export async function keyServer(test: TestContext, ...published: Signer[]): Promise<KeyServer> {
  const server: KeyServer = { url: new URL("http://unset"), asked: 0, published, instead: undefined };
  const root = await serve(test, (request, response) => {
    server.asked += 1;
    if (server.instead) return server.instead(request, response);
    response.setHeader("content-type", "application/jwk-set+json");
    response.end(JSON.stringify({ keys: server.published.map(({ jwk }) => jwk) }));
  });
  server.url = new URL("/.well-known/jwks.json", root);
  return server;
}

/** A clock that stands still until it is moved. */
export function manualClock(): { now: () => number; pass: (seconds: number) => void } {
  let time = NOON;
  return { now: () => time, pass: (seconds) => void (time += seconds * 1000) };
}
