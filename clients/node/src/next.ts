/** For Next.js, App Router: the proxy (once "middleware"), server components, and route handlers. */

import { headers } from "next/headers.js";
import { type NextRequest, NextResponse } from "next/server.js";

import { PhoenixError } from "./errors.js";
import type { Identity, Phoenix } from "./phoenix.js";
import { type Condition, meets, refusal } from "./problem.js";

/**
 * What Phoenix says without a signature. Useful to applications that trust their network; those that use this helper do
 * not, so that their code shall not read it by mistake.
 */
const UNSIGNED_HEADERS = ["x-phoenix-user-id", "x-phoenix-email", "x-phoenix-role", "x-phoenix-session-id"];

/** What {@link withPhoenix} does. */
export interface ProxyOptions extends Condition {
  /**
   * Paths for which one must be signed in, such as `/admin`: each stands for itself and all below it. They are no
   * patterns. Or a function that decides.
   */
  protect: readonly string[] | ((pathname: string) => boolean);
  /** Path of the page for signing in. Browsers are sent there with `?next=`; without it they get a 401. */
  signIn?: string;
  /** Is asked when the request may pass. What it answers is sent; nothing means: go on. */
  handle?: (request: NextRequest, identity: Identity | null) => Response | undefined | Promise<Response | undefined>;
}

/**
 * Makes the function to export from `proxy.ts` (Next.js 16) or `middleware.ts`.
 *
 * It guards pages. It is no replacement for asking again where data is read: use {@link getIdentity} and
 * {@link withIdentity} there.
 *
 * @throws {TypeError} if a path of `protect` would match nothing: it does not begin with a slash, or is a pattern.
 */
export function withPhoenix(phoenix: Phoenix, options: ProxyOptions): (request: NextRequest) => Promise<Response> {
  if (typeof options.protect !== "function") options.protect.forEach(checkProtected);
  return async (request) => {
    const caller = await callerOf(phoenix, request.headers);
    if (isProtected(options.protect, request.nextUrl.pathname)) {
      const status = verdict(caller, options);
      if (status === 401 && options.signIn !== undefined && isNavigation(request)) {
        return redirectTo(options.signIn, request);
      }
      if (status !== 200) return refuse(status);
    }
    const answer = await options.handle?.(request, caller instanceof PhoenixError ? null : caller);
    if (answer) return answer;
    const passed = new Headers(request.headers);
    for (const name of UNSIGNED_HEADERS) passed.delete(name);
    return NextResponse.next({ request: { headers: passed } });
  };
}

/** Whoever sent the request that is being answered; null when nobody is proven. For server components and actions. */
export async function getIdentity(phoenix: Phoenix): Promise<Identity | null> {
  return phoenix.verify(await headers());
}

/**
 * Makes a route handler that only whoever is signed in reaches. Others get 401, those of another role 403, and all get
 * 503 while Phoenix's keys cannot be had.
 */
export function withIdentity<R extends Request, C>(
  phoenix: Phoenix,
  handler: (request: R, identity: Identity, context: C) => Response | Promise<Response>,
  condition: Condition = {},
): (request: R, context: C) => Promise<Response> {
  return async (request, context) => {
    const caller = await callerOf(phoenix, request.headers);
    if (caller instanceof PhoenixError) return refuse(caller.status);
    return meets(caller, condition) ? handler(request, caller, context) : refuse(403);
  };
}

function callerOf(phoenix: Phoenix, received: Headers): Promise<Identity | PhoenixError> {
  return phoenix.require(received).catch((error: unknown) => {
    if (error instanceof PhoenixError) return error;
    throw error;
  });
}

function verdict(caller: Identity | PhoenixError, condition: Condition): 200 | 401 | 403 | 503 {
  if (caller instanceof PhoenixError) return caller.status;
  return meets(caller, condition) ? 200 : 403;
}

/** What is written like Next's `matcher` or a folder of `app` would protect nothing, and nobody would notice. */
function checkProtected(path: string): void {
  if (/^\/[^:*([{?#]*$/.test(path)) return;
  const remedy = 'write a path such as "/admin", which stands for all below it, or a function';
  throw new TypeError(`"${path}" in "protect" matches no path: ${remedy}`);
}

function isProtected(protect: ProxyOptions["protect"], pathname: string): boolean {
  if (typeof protect === "function") return protect(pathname);
  return protect.some((path) => {
    const folder = path.endsWith("/") ? path : `${path}/`;
    return `${pathname}/`.startsWith(folder);
  });
}

/** A page is asked for, by the browser or by Next's router: a redirect is of use. */
function isNavigation({ method, headers: received }: NextRequest): boolean {
  if (method !== "GET" && method !== "HEAD") return false;
  return (received.get("accept") ?? "").includes("text/html") || received.has("rsc");
}

function redirectTo(signIn: string, { nextUrl }: NextRequest): Response {
  const target = new URL(nextUrl.basePath + signIn, nextUrl.origin);
  target.searchParams.set("next", nextUrl.pathname + nextUrl.search);
  const response = NextResponse.redirect(target);
  response.headers.set("cache-control", "no-store");
  return response;
}

function refuse(status: 401 | 403 | 503): Response {
  const { headers: fields, body } = refusal(status);
  return new Response(body, { status, headers: fields });
}
