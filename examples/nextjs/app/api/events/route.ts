import { withIdentity } from "@phoenix-auth/node/next";

import { phoenix } from "../../../lib/phoenix";
import { listen, type Task } from "../../../lib/planner";

/** A comment is sent this often, in milliseconds, so that nobody between takes the stream for dead. */
const HEARTBEAT_MS = 15_000;
/** A stream ends after this many milliseconds. The browser opens it again, and Phoenix asks again who that is. */
const LIFE_MS = 5 * 60_000;

/** New tasks of the caller, as they are made (server-sent events). */
export const GET = withIdentity(phoenix, (request, { userId }) => {
  const encoder = new TextEncoder();
  let close = () => {};
  const events = new ReadableStream<Uint8Array>({
    start(controller) {
      const send = (text: string) => controller.enqueue(encoder.encode(text));
      const stop = listen(userId, (task: Task) =>
        send(`event: task\nid: ${task.id}\ndata: ${JSON.stringify(task)}\n\n`),
      );
      const heartbeat = setInterval(() => send(": still here\n\n"), HEARTBEAT_MS);
      const end = setTimeout(() => close(), LIFE_MS);
      close = () => {
        close = () => {};
        stop?.();
        clearInterval(heartbeat);
        clearTimeout(end);
        controller.close();
      };
      if (!stop) return close();
      send("retry: 1000\n\n");
      request.signal.addEventListener("abort", () => close());
    },
    cancel: () => close(),
  });
  return new Response(events, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" },
  });
});
