/** Refusals in the form that Phoenix's own have: `application/problem+json` (RFC 9457). */

import type { Identity } from "./phoenix.js";

/** A refusal. */
export interface Refusal {
  status: 401 | 403 | 503;
  headers: Record<string, string>;
  /** JSON. */
  body: string;
}

/** Who may pass. */
export interface Condition {
  /** One of these roles; any if not given. */
  roles?: readonly string[];
}

const KINDS = {
  401: { code: "unauthenticated", title: "Sign in first." },
  403: { code: "forbidden", title: "Your role does not allow this." },
  503: { code: "unavailable", title: "A part of the service is down. Try again in a moment." },
} as const;

/** Seconds after which a client may try again what an outage refused. */
const OUTAGE_RETRY_SECONDS = 2;

/** The refusal of this status. */
export function refusal(status: Refusal["status"]): Refusal {
  const { code, title } = KINDS[status];
  const headers: Record<string, string> = {
    "content-type": "application/problem+json",
    "cache-control": "no-store",
  };
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="phoenix"';
  if (status === 503) headers["retry-after"] = String(OUTAGE_RETRY_SECONDS);
  const type = `urn:phoenix:problem:${code}`;
  return { status, headers, body: JSON.stringify({ success: false, error: title, type, title, status, code }) };
}

/** Whether this caller meets the condition. */
export function meets(identity: Identity, { roles }: Condition): boolean {
  return roles === undefined || roles.includes(identity.role);
}
