/** The public keys of Phoenix: given, or fetched and kept. Knows nothing of assertions. */

import { type CryptoKey, importJWK, type JWK } from "jose";

import { PhoenixError } from "./errors.js";

/** A set of public keys (RFC 7517 section 5). */
export interface KeySet {
  keys: readonly object[];
}

/** Where keys are looked up. */
export interface KeySource {
  /**
   * The key of this name, if there is one.
   *
   * @throws {PhoenixError} `keys-unavailable`
   */
  find(kid: string): Promise<CryptoKey | undefined>;
}

/** What decides when keys are fetched. */
export interface RemoteKeyOptions {
  /** The address of the key set. */
  url: URL;
  /** Asks for it. */
  fetch: typeof fetch;
  /** Milliseconds of the Unix time. */
  now: () => number;
}

/** Most keys that are kept. Phoenix publishes three, or as many as it is given files. */
const MAX_KEYS = 32;
/** Longest key set that is read, in bytes. */
const MAX_BODY_BYTES = 65_536;
/** A fetch is given up after this many milliseconds. */
const FETCH_TIMEOUT_MS = 5_000;
/** Keys are fetched again after this many milliseconds, beside the requests. */
const REFRESH_AFTER_MS = 4 * 60_000;
/** After so many, requests wait for it: a key that Phoenix took back must not count for long, also after a quiet hour. */
const STALE_AFTER_MS = 5 * 60_000;
/** A key that is not known is a reason to fetch at most once in so many milliseconds: anybody can name one. */
const COOL_DOWN_MS = 30_000;
/** As long as there are no keys at all, they are asked for once in so many milliseconds. */
const RETRY_MS = 2_000;
/** If Phoenix cannot be reached, its keys count for so many milliseconds. They are published a week ahead. */
const KEEP_MS = 24 * 3_600_000;

/** Keys that never change. */
export function fixedKeys(set: KeySet): KeySource {
  const keys = importKeys(set);
  // Its failure belongs to those who ask, not to the process.
  keys.catch(() => undefined);
  return { find: async (kid) => (await keys).get(kid) };
}

/** Keys that Phoenix publishes. One fetch at a time; requests wait for it only if they cannot do without. */
export function remoteKeys({ url, fetch, now }: RemoteKeyOptions): KeySource {
  let keys: ReadonlyMap<string, CryptoKey> | undefined;
  let fetchedAt = 0;
  let failure: unknown;
  let triedAt: number | undefined;
  let pending: { since: number; done: Promise<void> } | undefined;

  // A clock that was set back must not keep old keys for ever.
  const passed = (since: number, limit: number) => now() - since >= limit || now() < since;

  function refresh(): Promise<void> {
    // An edge runtime may freeze what no request waits for, so a fetch that takes too long is forgotten.
    if (pending && !passed(pending.since, 2 * FETCH_TIMEOUT_MS)) return pending.done;
    const started = now();
    triedAt = started;
    const done = fetchKeys(url, fetch).then(
      (fetched) => {
        keys = fetched;
        fetchedAt = started;
        failure = undefined;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    const mine = { since: started, done };
    pending = mine;
    return done.finally(() => {
      if (pending === mine) pending = undefined;
    });
  }

  const mayTry = (pause: number) => pending !== undefined || triedAt === undefined || passed(triedAt, pause);

  return {
    async find(kid) {
      if (!keys || passed(fetchedAt, KEEP_MS)) {
        if (mayTry(RETRY_MS)) await refresh();
        if (!keys || passed(fetchedAt, KEEP_MS)) throw new PhoenixError("keys-unavailable", { cause: failure });
      } else if (passed(fetchedAt, STALE_AFTER_MS)) {
        // If Phoenix is away, those that come in the pause after it need not wait.
        if (mayTry(COOL_DOWN_MS)) await refresh();
      } else if (passed(fetchedAt, REFRESH_AFTER_MS) && !pending && mayTry(COOL_DOWN_MS)) {
        void refresh();
      }
      const key = keys.get(kid);
      if (key) return key;
      if (mayTry(COOL_DOWN_MS)) await refresh();
      const found = keys.get(kid);
      // Perhaps a new key of Phoenix, perhaps made up: while Phoenix is away nobody can say.
      if (!found && failure !== undefined) throw new PhoenixError("keys-unavailable", { cause: failure });
      return found;
    },
  };
}

async function fetchKeys(url: URL, fetch: RemoteKeyOptions["fetch"]): Promise<Map<string, CryptoKey>> {
  // Next.js would keep an answer; and keys come from where they were said to be, nowhere else.
  const init: RequestInit & { cache: "no-store" } = {
    headers: { accept: "application/jwk-set+json, application/json" },
    cache: "no-store",
    redirect: "manual",
    signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
  };
  const response = await fetch(url, init);
  if (response.status !== 200) {
    await response.body?.cancel();
    throw new Error(`the key set was answered with status ${response.status}`);
  }
  const set: unknown = JSON.parse(await readBounded(response));
  return importKeys(set);
}

async function readBounded(response: Response): Promise<string> {
  if (!response.body) throw new Error("the key set is empty");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    size += value.byteLength;
    if (size > MAX_BODY_BYTES) {
      await reader.cancel();
      throw new Error(`the key set is longer than ${MAX_BODY_BYTES} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}

/** Of a key set, the keys that can have signed an assertion. Others are for others (RFC 7517 section 5). */
async function importKeys(set: unknown): Promise<Map<string, CryptoKey>> {
  const listed = isRecord(set) ? set["keys"] : undefined;
  if (!Array.isArray(listed)) throw new Error("this is no key set");
  const keys = new Map<string, CryptoKey>();
  for (const jwk of listed.slice(0, MAX_KEYS)) {
    if (!isSigningKey(jwk)) continue;
    // Only what makes the public key: nothing else that is written there may decide what it is used for.
    const { kty, crv, x, y } = jwk;
    const key = await importJWK({ kty, crv, x, y } as JWK, "ES256").catch(() => undefined);
    if (key && !(key instanceof Uint8Array)) keys.set(jwk.kid, key);
  }
  if (keys.size === 0) throw new Error("the key set has no key for ES256");
  return keys;
}

interface SigningKey {
  kid: string;
  kty: string;
  crv: string;
  x: string;
  y: string;
}

function isSigningKey(jwk: unknown): jwk is SigningKey {
  return (
    isRecord(jwk) &&
    jwk["kty"] === "EC" &&
    jwk["crv"] === "P-256" &&
    (jwk["alg"] === undefined || jwk["alg"] === "ES256") &&
    (jwk["use"] === undefined || jwk["use"] === "sig") &&
    ["kid", "x", "y"].every((name) => typeof jwk[name] === "string")
  );
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
