"use client";

import { type FormEvent, useState } from "react";

/** The form of both pages. It talks to Phoenix, which has the same origin and keeps the session in its own cookie. */
export function Credentials({ action, submit }: { action: "login" | "register"; submit: string }) {
  const [failure, setFailure] = useState<string>();
  const [busy, setBusy] = useState(false);

  async function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    setBusy(true);
    setFailure(undefined);
    try {
      const response = await fetch(`/api/auth/${action}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ email: form.get("email"), password: form.get("password") }),
      });
      if (response.ok) {
        // A new document: nothing that was shown before the sign-in stays.
        window.location.assign(nextPath());
        return;
      }
      setFailure(await reasonOf(response));
    } catch {
      setFailure("The server cannot be reached.");
    }
    setBusy(false);
  }

  return (
    <form onSubmit={send}>
      <p>
        <label>
          Email <input name="email" type="email" autoComplete="username" required />
        </label>
      </p>
      <p>
        <label>
          Password{" "}
          <input
            name="password"
            type="password"
            autoComplete={action === "login" ? "current-password" : "new-password"}
            required
          />
        </label>
      </p>
      {failure && (
        <p role="alert" data-test="failure">
          {failure}
        </p>
      )}
      <button disabled={busy}>{submit}</button>
    </form>
  );
}

/** The page that was asked for before the sign-in: a path of ours, never another site. */
function nextPath(): string {
  const asked = new URLSearchParams(window.location.search).get("next") ?? "/planner";
  const target = new URL(asked, window.location.origin);
  return target.origin === window.location.origin ? target.pathname + target.search : "/planner";
}

/** What Phoenix says is wrong (RFC 9457). */
async function reasonOf(response: Response): Promise<string> {
  const problem = (await response.json().catch(() => ({}))) as {
    title?: string;
    errors?: { field: string; reason: string }[];
  };
  const fields = (problem.errors ?? []).map(({ field, reason }) => `${field}: ${reason}`);
  return [problem.title ?? `Status ${response.status}.`, ...fields].join(" ");
}
