/** Who is calling, as Phoenix signed it: finds the assertion of a request and verifies it. */

import { errors, jwtVerify, type JWTPayload } from "jose";

import { MAX_ASSERTION_LENGTH, PhoenixError, type PhoenixErrorCode } from "./errors.js";
import { fixedKeys, type KeySet, type KeySource, remoteKeys } from "./keys.js";

/** Name of the header in which Phoenix says who calls. */
export const ASSERTION_HEADER = "x-phoenix-assertion";

/** Seconds by which the clocks of Phoenix and of the application may differ. */
const CLOCK_TOLERANCE_SECONDS = 30;
/** Longest name of a key, in characters. */
const MAX_KID_LENGTH = 128;

/** Whoever calls, proven by Phoenix's signature. */
export interface Identity {
  /** The user: a UUID that never changes. */
  readonly userId: string;
  /** The user's e-mail address. May change. */
  readonly email: string | null;
  /** Whether the user has shown that the address is theirs. */
  readonly emailVerified: boolean;
  /** The user's role, such as `user` or `admin`. */
  readonly role: string;
  /** The session: a UUID. */
  readonly sessionId: string;
  /** When the assertion ends, usually within a minute. Not the end of the session. */
  readonly expiresAt: Date;
}

/** The headers of a request, as the web and Next.js have them, or Node and Express (names in lower case). */
export type RequestHeaders =
  { get(name: string): string | null } | Readonly<Record<string, string | readonly string[] | undefined>>;

/** What makes a {@link Phoenix}. Exactly one of `jwksUrl` and `keys`. */
export interface PhoenixOptions {
  /** For whom assertions must be made: the audience of the application's upstream in Phoenix. */
  audience: string;
  /** By whom: Phoenix's public address. Not looked at unless given. */
  issuer?: string;
  /** Address of Phoenix's keys, such as `http://phoenix:8080/.well-known/jwks.json`. */
  jwksUrl?: string | URL;
  /** The keys themselves. They do not follow when Phoenix changes its keys. */
  keys?: KeySet;
  /** Is told of every request that carries an assertion that does not count, and of keys that cannot be had. */
  onFailure?: (error: PhoenixError) => void;
  /** Fetches the keys; `fetch` unless given. */
  fetch?: typeof fetch;
  /** Milliseconds of the Unix time; `Date.now` unless given. */
  now?: () => number;
}

/** Verifies who calls. Make one for the application: it keeps the keys. */
export interface Phoenix {
  /** Whoever sent the request, or this assertion; null when nobody is proven, whatever the reason. Never throws. */
  verify(source: RequestHeaders | string): Promise<Identity | null>;
  /**
   * Whoever sent the request, or this assertion.
   *
   * @throws {PhoenixError} saying why nobody is proven
   */
  require(source: RequestHeaders | string): Promise<Identity>;
}

/** Sets up verification. Does not fetch anything yet. */
export function createPhoenix(options: PhoenixOptions): Phoenix {
  const { audience, issuer, onFailure, now = Date.now } = options;
  if (typeof audience !== "string" || audience === "") throw new TypeError("createPhoenix: audience is missing");
  if (issuer === "") throw new TypeError("createPhoenix: issuer is empty");
  const keys = keySource(options, now);

  async function require(source: RequestHeaders | string): Promise<Identity> {
    try {
      return await verifyAssertion(assertionOf(source));
    } catch (error) {
      const failure = asPhoenixError(error);
      if (failure.code !== "missing") onFailure?.(failure);
      throw failure;
    }
  }

  async function verifyAssertion(assertion: string): Promise<Identity> {
    // The algorithm is compared before a key is looked for.
    const { payload } = await jwtVerify(
      assertion,
      async ({ kid }) => {
        const isName = typeof kid === "string" && kid !== "" && kid.length <= MAX_KID_LENGTH;
        const key = isName ? await keys.find(kid) : undefined;
        if (!key) throw new PhoenixError("unknown-key");
        return key;
      },
      {
        algorithms: ["ES256"],
        audience,
        ...(issuer === undefined ? {} : { issuer }),
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        currentDate: new Date(now()),
        requiredClaims: ["aud", "iss", "sub", "iat", "exp"],
      },
    );
    return identityOf(payload);
  }

  return {
    require,
    verify: (source) => require(source).catch(() => null),
  };
}

function keySource({ jwksUrl, keys, fetch }: PhoenixOptions, now: () => number): KeySource {
  if ((jwksUrl === undefined) === (keys === undefined)) {
    throw new TypeError("createPhoenix: give either jwksUrl or keys");
  }
  if (keys) return fixedKeys(keys);
  const url = new URL(jwksUrl as string | URL);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new TypeError("createPhoenix: jwksUrl is not http or https");
  }
  // Looked up at each fetch: Next.js and tests replace the global one.
  return remoteKeys({ url, now, fetch: fetch ?? ((input, init) => globalThis.fetch(input, init)) });
}

function assertionOf(source: RequestHeaders | string): string {
  const value = typeof source === "string" ? source : headerOf(source);
  if (value === undefined || value === null || value === "") throw new PhoenixError("missing");
  if (typeof value !== "string") throw new PhoenixError("malformed");
  if (value.length > MAX_ASSERTION_LENGTH) throw new PhoenixError("too-large");
  return value;
}

function headerOf(headers: RequestHeaders): string | readonly string[] | null | undefined {
  if (typeof headers.get === "function") return headers.get(ASSERTION_HEADER);
  return (headers as Readonly<Record<string, string | readonly string[] | undefined>>)[ASSERTION_HEADER];
}

function identityOf(claims: JWTPayload): Identity {
  const { sub, exp, sid, email, email_verified: emailVerified, role } = claims;
  if (
    !isText(sub) ||
    !isText(sid) ||
    !isText(role) ||
    (email !== undefined && typeof email !== "string") ||
    typeof emailVerified !== "boolean" ||
    typeof exp !== "number"
  ) {
    throw new PhoenixError("bad-claims");
  }
  return { userId: sub, email: email ?? null, emailVerified, role, sessionId: sid, expiresAt: new Date(exp * 1000) };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}

function asPhoenixError(error: unknown): PhoenixError {
  return error instanceof PhoenixError ? error : new PhoenixError(codeOf(error), { cause: error });
}

function codeOf(error: unknown): PhoenixErrorCode {
  if (error instanceof errors.JWTExpired) return "expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    if (error.reason === "check_failed" && error.claim === "aud") return "wrong-audience";
    if (error.reason === "check_failed" && error.claim === "iss") return "wrong-issuer";
    if (error.reason === "check_failed" && error.claim === "nbf") return "not-yet-valid";
    return "bad-claims";
  }
  if (error instanceof errors.JOSEAlgNotAllowed) return "wrong-algorithm";
  if (error instanceof errors.JWSSignatureVerificationFailed) return "bad-signature";
  if (error instanceof errors.JOSEError || error instanceof TypeError) return "malformed";
  // What is left are given keys that are none.
  return "keys-unavailable";
}
