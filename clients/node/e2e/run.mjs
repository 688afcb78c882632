#!/usr/bin/env node
/**
 * Drives the example application behind Phoenix with a real browser.
 *
 *   node e2e/run.mjs --phoenix <binary> [--skip-build]   builds and starts everything on free ports
 *   node e2e/run.mjs --url <origin> --app-log <file>     what runs already
 *
 * Prints a line a step. Exits with 0 when all went well, 1 when a step failed, 2 when it was called wrongly. Needs
 * Chromium (`CHROMIUM`, else /usr/bin/chromium). Leaves nothing running.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { access } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { environment, freePort, killAll, Program, tail } from "./processes.mjs";

const CLIENT = fileURLToPath(new URL("..", import.meta.url));
const EXAMPLE = fileURLToPath(new URL("../../../examples/nextjs", import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const CHROMIUM_FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
/** The steps have this many milliseconds in all. */
const STEPS_MS = 240_000;
/** One command of the build has this many milliseconds. */
const BUILD_MS = 600_000;
const AUDIENCE = "planner";

const programs = [];
let folder;

async function step(name, work) {
  const started = performance.now();
  const say = (verdict) => console.log(`${verdict}  ${name}  (${Math.round(performance.now() - started)} ms)`);
  try {
    await work();
  } catch (error) {
    say("FAIL");
    throw error;
  }
  say("ok  ");
}

async function build() {
  const npm = (cwd, ...args) =>
    step(`npm ${args.join(" ")} in ${cwd === CLIENT ? "clients/node" : "examples/nextjs"}`, async () => {
      const program = new Program("npm", join(folder, "build.log"), "npm", args, { cwd, env: process.env });
      const late = setTimeout(() => program.kill(), BUILD_MS);
      const code = await program.exited.finally(() => clearTimeout(late));
      if (code !== 0) throw new Error(`npm ended with ${code}:\n${tail(program.output())}`);
    });
  await npm(CLIENT, "ci");
  await npm(CLIENT, "run", "build");
  await npm(EXAMPLE, "ci");
  await npm(EXAMPLE, "run", "build");
}

async function start(binary) {
  const phoenixPort = await freePort();
  const url = new URL(`http://127.0.0.1:${phoenixPort}`);
  const appLog = join(folder, "app.log");
  await step("start the application", async () => {
    const env = environment({
      NODE_ENV: "production",
      NEXT_TELEMETRY_DISABLED: "1",
      PORT: "0",
      PHOENIX_AUDIENCE: AUDIENCE,
      PHOENIX_JWKS_URL: new URL("/.well-known/jwks.json", url).href,
    });
    programs.push(new Program("the application", appLog, process.execPath, ["server.mjs"], { cwd: EXAMPLE, env }));
    await programs[0].said(/"event":"listening".*"port":(\d+)/, 30);
  });
  const [, appPort] = await programs[0].said(/"event":"listening".*"port":(\d+)/, 1);
  await step("start Phoenix", async () => {
    const env = environment({
      PHOENIX_LISTEN: url.host,
      PHOENIX_UPSTREAM: `http://127.0.0.1:${appPort}`,
      PHOENIX_GATEWAY_AUDIENCE: AUDIENCE,
      PHOENIX_DATA_DIR: join(folder, "data"),
    });
    programs.push(new Program("Phoenix", join(folder, "phoenix.log"), binary, [], { cwd: folder, env }));
    await programs[1].said(/listening on http/, 30);
  });
  return { url, appLog };
}

async function drive(world) {
  const { chromium } = await import("playwright-core");
  const { runSteps } = await import("./steps.mjs");
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: CHROMIUM_FLAGS,
    chromiumSandbox: false,
    env: environment(),
  });
  const late = setTimeout(() => void browser.close(), STEPS_MS);
  try {
    await runSteps({ ...world, browser, step });
  } finally {
    clearTimeout(late);
    await browser.close();
  }
}

function options() {
  const { values } = parseArgs({
    options: {
      phoenix: { type: "string" },
      "skip-build": { type: "boolean", default: false },
      url: { type: "string" },
      "app-log": { type: "string" },
    },
  });
  if ((values.phoenix === undefined) === (values.url === undefined)) throw new Error("give either --phoenix or --url");
  if (values.url !== undefined && values["app-log"] === undefined) throw new Error("--url needs --app-log");
  return values;
}

async function main(asked) {
  await access(CHROMIUM).catch(() => {
    throw new Error(`there is no ${CHROMIUM}: install chromium, or say where it is with CHROMIUM`);
  });
  folder = mkdtempSync(join(tmpdir(), "phoenix-e2e-"));
  // The browser's profile goes there, too.
  process.env.TMPDIR = folder;
  if (asked.url !== undefined) return drive({ url: new URL(asked.url), appLog: resolve(asked["app-log"]) });
  const binary = resolve(asked.phoenix);
  await access(binary);
  if (!asked["skip-build"]) await build();
  await drive(await start(binary));
}

async function end() {
  // Phoenix first: it must not see the application go.
  for (const program of programs.toReversed()) await program.stop();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
}

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, () => {
    killAll();
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    process.exit(1);
  });
}

let asked;
try {
  asked = options();
} catch (error) {
  console.error(
    `${error.message}\nusage: node e2e/run.mjs --phoenix <binary> [--skip-build] | --url <origin> --app-log <file>`,
  );
  process.exit(2);
}
try {
  await main(asked);
} catch (error) {
  console.error(error);
  for (const program of programs) console.error(`--- ${program.name}\n${tail(program.output())}`);
  process.exitCode = 1;
} finally {
  await end();
}
