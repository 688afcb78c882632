/** What two people do in real browsers, and what the application must have seen of it. */

import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";

import { until } from "./processes.mjs";

/** Size of the upload in bytes. */
const UPLOAD_BYTES = 5 * 1024 * 1024;
/** A page has this many milliseconds for whatever is waited for. */
const PAGE_MS = 20_000;
/** The headers that Phoenix sets for a known caller. */
const IDENTITY_HEADERS = [
  "x-phoenix-assertion",
  "x-phoenix-email",
  "x-phoenix-role",
  "x-phoenix-session-id",
  "x-phoenix-user-id",
];

/**
 * @param {object} world
 * @param {import("playwright-core").Browser} world.browser
 * @param {URL} world.url where browsers reach Phoenix
 * @param {string} world.appLog file with the application's log
 * @param {(name: string, work: () => Promise<unknown>) => Promise<void>} world.step runs and reports a step
 */
export async function runSteps({ browser, url, appLog, step }) {
  const account = { email: `ada-${randomUUID()}@example.com`, password: `correct-horse-${randomUUID()}` };
  const first = await newPage(browser, url);
  const second = await newPage(browser, url);
  const text = (page, name) => page.locator(`[data-test=${name}]`).innerText();
  const logged = (what, condition) =>
    until(`the log of the application has ${what}`, 10, () => readLog(appLog).find(condition));

  await step("whoever is not signed in is sent to the sign-in", async () => {
    await first.goto("/planner");
    assert.equal(pathOf(first), "/sign-in?next=%2Fplanner");
    assert.equal((await first.request.get("/api/tasks")).status(), 401);
    await first.goto("/");
    assert.equal(await text(first, "greeting"), "You are not signed in.");
  });

  await step("sign up", async () => {
    await first.goto("/sign-up");
    await submit(first, account, "Sign up");
    await first.waitForURL("**/planner");
    assert.match(await text(first, "email"), new RegExp(account.email));
  });

  await step("sign out, a wrong password, sign in", async () => {
    await first.getByRole("button", { name: "Sign out", exact: true }).click();
    await first.waitForURL((at) => at.pathname === "/");
    assert.equal(await text(first, "greeting"), "You are not signed in.");
    await first.goto("/planner");
    await submit(first, { ...account, password: "not-the-right-password" }, "Sign in");
    await first.locator("[data-test=failure]").waitFor();
    assert.equal(pathOf(first), "/sign-in?next=%2Fplanner");
    await submit(first, account, "Sign in");
    await first.waitForURL("**/planner");
  });

  let me;
  await step("the protected page shows the verified identity", async () => {
    me = (await (await first.request.get("/api/auth/me")).json()).user;
    assert.equal(await text(first, "user-id"), me.id);
    assert.equal(await text(first, "role"), me.role);
    assert.match(await text(first, "session-id"), /^[0-9a-f-]{36}$/);
    const line = await logged("the protected page", ({ path, identity }) => path === "/planner" && identity);
    assert.equal(line.identity.email, account.email);
    assert.equal(line.identity.userId, me.id);
    assert.deepEqual(line.phoenixHeaders.toSorted(), IDENTITY_HEADERS);
  });

  await step("answers of the application carry Phoenix's headers", async () => {
    const headers = (await first.request.get("/api/tasks")).headers();
    const names = ["request-id", "response-time", "auth-time", "cache-hit", "phoenix-version", "system-status"];
    for (const name of names) assert.ok(headers[`x-${name}`], `x-${name} in ${JSON.stringify(headers)}`);
    assert.ok(headers["ratelimit"], "the limit of the class api");
  });

  await step("a new task arrives as a server-sent event", async () => {
    await first.getByText("Events: open").waitFor();
    await first.getByLabel("Title").fill("Write the report");
    await first.getByRole("button", { name: "Add" }).click();
    // The page shows only what came as an event.
    await first.locator("[data-test=task]", { hasText: "Write the report" }).waitFor();
    const { tasks } = await (await first.request.get("/api/tasks")).json();
    assert.deepEqual(
      tasks.map(({ title }) => title),
      ["Write the report"],
    );
  });

  await step("a WebSocket echoes", async () => {
    await first.getByText("WebSocket: open").waitFor();
    const message = randomUUID();
    await first.getByLabel("Message").fill(message);
    await first.getByRole("button", { name: "Send" }).click();
    await first.locator("[data-test=echo]", { hasText: `${account.email}: ${message}` }).waitFor();
    const line = await logged("the upgrade", ({ event }) => event === "upgrade");
    assert.equal(line.status, 101);
    assert.equal(line.identity.userId, me.id);
  });

  await step("an upload of 5 MB arrives whole", async () => {
    const buffer = randomBytes(UPLOAD_BYTES);
    await first.getByLabel("File").setInputFiles({ name: "plan.bin", mimeType: "application/octet-stream", buffer });
    const output = first.locator("[data-test=uploaded]");
    await output.filter({ hasText: /./ }).waitFor();
    const result = JSON.parse(await output.innerText());
    const sha256 = createHash("sha256").update(buffer).digest("hex");
    assert.deepEqual(result, { size: UPLOAD_BYTES, sha256, userId: me.id });
  });

  await step("forged headers do not reach the application", async () => {
    const forged = {
      "X-Phoenix-User-Id": "00000000-0000-0000-0000-000000000000",
      "X-Phoenix-Role": "admin",
      "X-Phoenix-Email": "root@example.com",
      "X-Phoenix-Session-Id": "00000000-0000-0000-0000-000000000000",
      "X-Phoenix-Assertion": forgedAssertion(),
      x_phoenix_user_id: "00000000-0000-0000-0000-000000000000",
      "x-phoenix_assertion": forgedAssertion(),
    };
    const seen = async (headers) => {
      const path = `/forged/${randomUUID()}`;
      assert.equal(await get(new URL(path, url), headers), 404);
      return logged(path, (line) => line.path === path);
    };
    const stranger = await seen(forged);
    assert.equal(stranger.identity, null);
    assert.deepEqual(stranger.phoenixHeaders, []);
    const cookie = (await first.context().cookies()).map(({ name, value }) => `${name}=${value}`).join("; ");
    const known = await seen({ ...forged, cookie });
    assert.equal(known.identity.userId, me.id);
    assert.equal(known.userIdHeader, me.id);
    assert.deepEqual(known.phoenixHeaders.toSorted(), IDENTITY_HEADERS);
  });

  await step("the same account in a second browser", async () => {
    await second.goto("/planner");
    await submit(second, account, "Sign in");
    await second.waitForURL("**/planner");
    assert.equal(await text(second, "user-id"), me.id);
    assert.notEqual(await text(second, "session-id"), await text(first, "session-id"));
    await second.locator("[data-test=task]", { hasText: "Write the report" }).waitFor();
  });

  await step("signed out everywhere by the first, the second is refused at once", async () => {
    // Taken in the second browser's page, so that it is the next thing that happens.
    await second.waitForFunction(() => document.readyState === "complete");
    await first.getByRole("button", { name: "Sign out everywhere" }).click();
    await first.waitForURL((at) => at.pathname === "/");
    const status = await second.evaluate(async () => (await fetch("/api/tasks")).status);
    assert.equal(status, 401);
    await second.reload();
    assert.equal(pathOf(second), "/sign-in?next=%2Fplanner");
    await second.goto("/");
    assert.equal(await text(second, "greeting"), "You are not signed in.");
  });

  await first.context().close();
  await second.context().close();
}

/** A browser of its own: no cookie is shared. */
async function newPage(browser, url) {
  const context = await browser.newContext({ baseURL: url.href });
  context.setDefaultTimeout(PAGE_MS);
  return context.newPage();
}

async function submit(page, { email, password }, button) {
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: button }).click();
}

function pathOf(page) {
  const { pathname, search } = new URL(page.url());
  return pathname + search;
}

/** The lines of the log that are complete and the application's own. */
function readLog(file) {
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line));
}

/** An administrator's assertion, signed by nobody. */
function forgedAssertion() {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const now = Math.floor(Date.now() / 1000);
  const claims = { iss: "phoenix", aud: "planner", sub: randomUUID(), sid: randomUUID(), role: "admin", iat: now };
  return `${part({ alg: "none" })}.${part({ ...claims, email: "root@example.com", exp: now + 60 })}.`;
}

/** Status of a GET with exactly these headers: `fetch` would change them. */
function get(target, headers) {
  const send = target.protocol === "https:" ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(target, { headers, agent: false, timeout: PAGE_MS }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode));
    });
    request.on("timeout", () => request.destroy(new Error("no answer")));
    request.on("error", reject).end();
  });
}
