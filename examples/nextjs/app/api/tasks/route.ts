import { withIdentity } from "@phoenix-auth/node/next";

import { phoenix } from "../../../lib/phoenix";
import { addTask, MAX_TITLE_LENGTH, tasksOf } from "../../../lib/planner";

/** Longest body in bytes. */
const MAX_BODY_BYTES = 4_096;

export const GET = withIdentity(phoenix, (_request, { userId }) => Response.json({ tasks: tasksOf(userId) }));

export const POST = withIdentity(phoenix, async (request, { userId }) => {
  const title = await titleOf(request);
  if (title === undefined)
    return Response.json({ error: `title: 1 to ${MAX_TITLE_LENGTH} characters` }, { status: 422 });
  return Response.json(addTask(userId, title), { status: 201 });
});

async function titleOf(request: Request): Promise<string | undefined> {
  if (!(Number(request.headers.get("content-length")) <= MAX_BODY_BYTES)) return undefined;
  const body: unknown = await request.json().catch(() => undefined);
  const title = typeof body === "object" && body !== null && "title" in body ? body.title : undefined;
  if (typeof title !== "string") return undefined;
  const trimmed = title.trim();
  return trimmed !== "" && trimmed.length <= MAX_TITLE_LENGTH ? trimmed : undefined;
}
