/** Starts programs, reads what they say, and leaves nothing behind: no process, no file. */

import { spawn } from "node:child_process";
import { createWriteStream, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";

/** A program has this many milliseconds to stop after it was asked. */
const STOP_MS = 15_000;

const running = new Set();

/** What programs see of the environment: nothing that would change what they do. */
export function environment(variables = {}) {
  const kept = Object.fromEntries(["PATH", "HOME", "TMPDIR"].map((name) => [name, process.env[name]]));
  return { ...kept, ...variables };
}

/** A program of its own process group that writes its output into a file. */
export class Program {
  #child;
  #log;
  name;

  constructor(name, log, command, args, options) {
    this.name = name;
    this.#log = log;
    this.#child = spawn(command, args, { ...options, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    this.exited = once(this.#child, "exit").then(([code, signal]) => code ?? signal);
    // A program that cannot be started says so here, and nowhere else.
    this.exited.catch(() => undefined);
    const file = createWriteStream(log, { flags: "a" });
    this.#child.stdout.pipe(file, { end: false });
    this.#child.stderr.pipe(file, { end: false });
    running.add(this);
    const gone = () => running.delete(this);
    this.exited.then(gone, gone);
  }

  output() {
    return readFileSync(this.#log, { encoding: "utf8", flag: "a+" });
  }

  /** The first match in what the program wrote. */
  async said(pattern, seconds) {
    return until(`${this.name} said ${pattern}`, seconds, async () => {
      const found = pattern.exec(this.output());
      if (!found && !running.has(this)) throw new Error(`${this.name} ended:\n${tail(this.output())}`);
      return found;
    });
  }

  async stop() {
    if (!running.has(this)) return;
    this.#signal("SIGTERM");
    const forced = setTimeout(() => this.#signal("SIGKILL"), STOP_MS);
    await this.exited.catch(() => undefined);
    clearTimeout(forced);
  }

  kill() {
    this.#signal("SIGKILL");
  }

  #signal(signal) {
    try {
      process.kill(-this.#child.pid, signal);
    } catch {
      // It has ended.
    }
  }
}

/** For the moment when there is no time left. */
export function killAll() {
  for (const program of running) program.kill();
}

/** Waits until something is so, at most for so many seconds. */
export async function until(what, seconds, condition) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const result = await condition();
    if (result) return result;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

/** A port of loopback that nobody uses now. */
export async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** The last lines of a text. */
export function tail(text, lines = 30) {
  return text.trimEnd().split("\n").slice(-lines).join("\n");
}
