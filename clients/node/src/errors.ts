/** Why a caller is not known: one closed set of reasons, each with the status that an application should answer. */

/**
 * - `missing`: no assertion came with the request.
 * - `malformed`: it is not a compact JWT, or there is more than one.
 * - `too-large`: it is longer than {@link MAX_ASSERTION_LENGTH} characters.
 * - `wrong-algorithm`: it does not say ES256. Nothing else of it was looked at.
 * - `unknown-key`: it names no key of Phoenix.
 * - `bad-signature`: the key did not sign it.
 * - `wrong-issuer`, `wrong-audience`: it was made by, or for, somebody else.
 * - `expired`, `not-yet-valid`: its time is over, or has not begun.
 * - `bad-claims`: signed, but something that must be said in it is not.
 * - `keys-unavailable`: Phoenix's keys cannot be had, so that nobody can say. Not the caller's fault: 503.
 */
export type PhoenixErrorCode =
  | "missing"
  | "malformed"
  | "too-large"
  | "wrong-algorithm"
  | "unknown-key"
  | "bad-signature"
  | "wrong-issuer"
  | "wrong-audience"
  | "expired"
  | "not-yet-valid"
  | "bad-claims"
  | "keys-unavailable";

/** Longest assertion that is looked at, in characters. Those of Phoenix have fewer than 2,000. */
export const MAX_ASSERTION_LENGTH = 8_192;

const MESSAGES: Record<PhoenixErrorCode, string> = {
  missing: "the request carries no assertion of Phoenix",
  malformed: "the assertion is not one compact JWT",
  "too-large": `the assertion is longer than ${MAX_ASSERTION_LENGTH} characters`,
  "wrong-algorithm": "the assertion is not signed with ES256",
  "unknown-key": "the assertion names no key of Phoenix",
  "bad-signature": "the signature of the assertion is wrong",
  "wrong-issuer": "the assertion has another issuer",
  "wrong-audience": "the assertion is for another application",
  expired: "the assertion has expired",
  "not-yet-valid": "the assertion is not valid yet",
  "bad-claims": "the assertion lacks a claim",
  "keys-unavailable": "the keys of Phoenix cannot be had",
};

/** Nobody is proven to call. The message never contains anything of the assertion. */
export class PhoenixError extends Error {
  override readonly name = "PhoenixError";
  /** The reason. */
  readonly code: PhoenixErrorCode;
  /** What an application should answer: 503 if nobody can say who calls, else 401. */
  readonly status: 401 | 503;

  constructor(code: PhoenixErrorCode, options?: ErrorOptions) {
    super(MESSAGES[code], options);
    this.code = code;
    this.status = code === "keys-unavailable" ? 503 : 401;
  }
}
