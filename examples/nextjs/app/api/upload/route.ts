import { createHash } from "node:crypto";

import { withIdentity } from "@phoenix-auth/node/next";

import { phoenix } from "../../../lib/phoenix";

/** Longest file in bytes. */
const MAX_BYTES = 1024 ** 3;

/** Takes a file as it comes, without keeping it, and says what came. */
export const POST = withIdentity(phoenix, async (request, { userId }) => {
  const hash = createHash("sha256");
  let size = 0;
  const reader = request.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || !value) break;
    size += value.byteLength;
    if (size > MAX_BYTES) {
      await reader?.cancel();
      return Response.json({ error: `at most ${MAX_BYTES} bytes` }, { status: 413 });
    }
    hash.update(value);
  }
  return Response.json({ size, sha256: hash.digest("hex"), userId });
});
