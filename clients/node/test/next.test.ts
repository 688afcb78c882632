/** The parts for Next.js that need no server: the proxy function and guarded route handlers. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { createPhoenix } from "@phoenix-auth/node";
import { withIdentity, withPhoenix } from "@phoenix-auth/node/next";
import { NextRequest } from "next/server.js";

import { assertion, AUDIENCE, NOON, signer } from "./kit.js";

const ours = await signer("key-1");
const phoenix = createPhoenix({ audience: AUDIENCE, keys: { keys: [ours.jwk] }, now: () => NOON });
const away = createPhoenix({
  audience: AUDIENCE,
  jwksUrl: "http://phoenix.invalid/",
  fetch: () => Promise.reject(new Error("away")),
  now: () => NOON,
});
const page = { accept: "text/html,*/*" };

function request(path: string, headers: Record<string, string> = {}, method = "GET"): NextRequest {
  return new NextRequest(new URL(path, "http://app.example"), { headers, method });
}

async function signedIn(role = "user"): Promise<Record<string, string>> {
  return { "x-phoenix-assertion": await assertion(ours, { role }) };
}

const passed = (response: Response) => response.headers.get("x-middleware-next") === "1";

test("protected paths ask for a sign-in, and only they", async () => {
  const proxy = withPhoenix(phoenix, { protect: ["/planner"], signIn: "/sign-in" });
  for (const path of ["/", "/plannerx", "/about/planner", "/sign-in"]) {
    assert.ok(passed(await proxy(request(path, page))), path);
  }
  for (const path of ["/planner", "/planner/", "/planner/today?x=1"]) {
    const sent = await proxy(request(path, page));
    assert.equal(sent.status, 307, path);
    const target = new URL(sent.headers.get("location") ?? "");
    assert.equal(target.pathname, "/sign-in");
    assert.equal(target.searchParams.get("next"), request(path).nextUrl.pathname + request(path).nextUrl.search);
    assert.equal([...target.searchParams].length, 1);
    assert.ok(passed(await proxy(request(path, { ...page, ...(await signedIn()) }))), path);
  }
});

test("a path stands for itself and all below it, however it is written", async () => {
  for (const path of ["/planner", "/planner/"]) {
    const proxy = withPhoenix(phoenix, { protect: [path] });
    for (const inside of ["/planner", "/planner/", "/planner/x"]) {
      assert.equal((await proxy(request(inside))).status, 401, inside);
    }
    for (const outside of ["/", "/plannerx", "/x/planner"]) assert.ok(passed(await proxy(request(outside))), outside);
  }
  const all = withPhoenix(phoenix, { protect: ["/"] });
  for (const inside of ["/", "/x"]) assert.equal((await all(request(inside))).status, 401, inside);
});

test("what would protect nothing is refused at once", () => {
  for (const path of ["admin", "", "./admin", "/admin/:path*", "/admin/*", "/(admin)", "/admin/[id]", "/admin?x", "https://a/b"]) {
    assert.throws(() => withPhoenix(phoenix, { protect: ["/planner", path] }), TypeError, path);
  }
  assert.doesNotThrow(() => withPhoenix(phoenix, { protect: ["/", "/a/b-c.d/", "/%C3%A9", "/@me"] }));
});

test("what is no page gets a problem", async () => {
  const proxy = withPhoenix(phoenix, { protect: (path) => path !== "/open", signIn: "/sign-in" });
  for (const asked of [request("/api"), request("/planner", page, "POST")]) {
    const refused = await proxy(asked);
    assert.equal(refused.status, 401);
    assert.equal(refused.headers.get("content-type"), "application/problem+json");
  }
  const sent = await proxy(request("/planner", { rsc: "1" }));
  assert.equal(sent.status, 307);
  assert.ok(passed(await proxy(request("/open"))));
  const bare = withPhoenix(phoenix, { protect: ["/planner"] });
  assert.equal((await bare(request("/planner", page))).status, 401);
});

test("another role is forbidden, an outage is no reason to sign in", async () => {
  const options = { protect: ["/admin"], roles: ["admin"], signIn: "/sign-in" };
  const proxy = withPhoenix(phoenix, options);
  assert.equal((await proxy(request("/admin", { ...page, ...(await signedIn()) }))).status, 403);
  assert.ok(passed(await proxy(request("/admin", { ...page, ...(await signedIn("admin")) }))));
  const refused = await withPhoenix(away, options)(request("/admin", { ...page, ...(await signedIn("admin")) }));
  assert.equal(refused.status, 503);
  assert.equal(refused.headers.get("retry-after"), "2");
});

test("headers without a signature do not reach the application's code", async () => {
  const proxy = withPhoenix(phoenix, { protect: [] });
  const forged = { "x-phoenix-user-id": "1", "x-phoenix-role": "admin", "x-phoenix-email": "e", "x-other": "kept" };
  const response = await proxy(request("/", { ...forged, ...(await signedIn()) }));
  const names = response.headers.get("x-middleware-override-headers")?.split(",").sort();
  assert.deepEqual(names, ["x-other", "x-phoenix-assertion"]);
});

test("the application may answer itself", async () => {
  const seen: (string | null)[] = [];
  const proxy = withPhoenix(phoenix, {
    protect: ["/planner"],
    handle: (asked, identity) => {
      seen.push(identity?.email ?? null);
      return asked.nextUrl.pathname === "/teapot" ? new Response(null, { status: 418 }) : undefined;
    },
  });
  assert.equal((await proxy(request("/teapot"))).status, 418);
  assert.ok(passed(await proxy(request("/", await signedIn()))));
  await proxy(request("/planner"));
  assert.deepEqual(seen, [null, "ada@example.com"], "what is refused is not asked about");
});

test("route handlers are reached only by whom they are for", async () => {
  const context = { params: Promise.resolve({ id: "7" }) };
  const handler = withIdentity(
    phoenix,
    async (_request: Request, identity, { params }: typeof context) =>
      Response.json({ by: identity.email, id: (await params).id }),
    { roles: ["user"] },
  );
  const at = (headers: Record<string, string>) => handler(new Request("http://app.example/", { headers }), context);
  assert.deepEqual(await (await at(await signedIn())).json(), { by: "ada@example.com", id: "7" });
  assert.equal((await at({})).status, 401);
  assert.equal((await at({ "x-phoenix-user-id": "1" })).status, 401);
  assert.equal((await at(await signedIn("admin"))).status, 403);
  const lost = withIdentity(away, () => new Response());
  assert.equal((await lost(new Request("http://app.example/", { headers: await signedIn() }), {})).status, 503);
});

test("nothing of Node's own is needed, except for Express", () => {
  const dist = new URL("../dist/", import.meta.url);
  const files = readdirSync(dist).filter((name) => name.endsWith(".js") && name !== "express.js");
  assert.ok(files.length >= 5);
  for (const name of files) {
    const text = readFileSync(new URL(name, dist), "utf8");
    assert.doesNotMatch(text, /from "node:|\bprocess\.\w|\bBuffer\b/, name);
  }
});
