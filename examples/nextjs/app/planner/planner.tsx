"use client";

import { type FormEvent, useEffect, useRef, useState } from "react";

import type { Task } from "../../lib/planner";

/** The server closes a WebSocket with this code after some minutes, so that a new one shows who is there. */
const TIME_IS_UP = 4401;

/** The lively part: new tasks arrive as events, messages come back over a WebSocket, files go up. */
export function Planner({ initial }: { initial: readonly Task[] }) {
  const [tasks, setTasks] = useState(initial);
  const [listening, setListening] = useState(false);
  const [notice, setNotice] = useState("");

  useEffect(() => {
    const events = new EventSource("/api/events");
    events.onopen = () => setListening(true);
    events.onerror = () => setListening(false);
    events.addEventListener("task", ({ data }) => {
      const task = JSON.parse(data) as Task;
      setTasks((known) => (known.some(({ id }) => id === task.id) ? known : [...known, task]));
    });
    return () => events.close();
  }, []);

  async function add(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const title = new FormData(form).get("title");
    const response = await fetch("/api/tasks", {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ title }),
    });
    // The task itself comes as an event.
    setNotice(response.ok ? "" : `The task was refused: ${response.status}`);
    if (response.ok) form.reset();
  }

  async function signOut(everywhere: boolean) {
    const response = everywhere
      ? await fetch("/api/auth/sessions?scope=all", { method: "DELETE" })
      : await fetch("/api/auth/logout", { method: "POST" });
    if (response.ok) window.location.assign("/");
    else setNotice(`Signing out failed: ${response.status}`);
  }

  return (
    <>
      <p data-test="events">{listening ? "Events: open" : "Events: closed"}</p>
      <ul>
        {tasks.map(({ id, title }) => (
          <li key={id} data-test="task">
            {title}
          </li>
        ))}
      </ul>
      <form onSubmit={add}>
        <input name="title" aria-label="Title" required maxLength={200} /> <button>Add</button>
      </form>
      <Echo />
      <Upload />
      <p role="status">{notice}</p>
      <p>
        <button onClick={() => void signOut(false)}>Sign out</button>{" "}
        <button onClick={() => void signOut(true)}>Sign out everywhere</button>
      </p>
    </>
  );
}

function Echo() {
  const socket = useRef<WebSocket>(null);
  const [state, setState] = useState("closed");
  const [answer, setAnswer] = useState("");
  const [round, setRound] = useState(0);

  useEffect(() => {
    const opened = new WebSocket(`${window.location.origin.replace(/^http/, "ws")}/api/ws`);
    socket.current = opened;
    opened.onopen = () => setState("open");
    opened.onclose = ({ code }) => {
      setState("closed");
      if (code === TIME_IS_UP) setRound(round + 1);
    };
    opened.onmessage = ({ data }) => setAnswer(String(data));
    return () => opened.close();
  }, [round]);

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    socket.current?.send(String(new FormData(event.currentTarget).get("message")));
  }

  return (
    <form onSubmit={send}>
      <span data-test="socket">WebSocket: {state}</span> <input name="message" aria-label="Message" />{" "}
      <button disabled={state !== "open"}>Send</button> <output data-test="echo">{answer}</output>
    </form>
  );
}

function Upload() {
  const [result, setResult] = useState("");

  async function send(file: File | undefined) {
    if (!file) return;
    setResult("");
    const response = await fetch("/api/upload", {
      method: "POST",
      headers: { "content-type": "application/octet-stream" },
      body: file,
    });
    setResult(response.ok ? await response.text() : `The file was refused: ${response.status}`);
  }

  return (
    <p>
      <input type="file" aria-label="File" onChange={(event) => void send(event.target.files?.[0])} />{" "}
      <output data-test="uploaded">{result}</output>
    </p>
  );
}
