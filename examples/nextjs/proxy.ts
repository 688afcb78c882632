/** Runs before a page: only whoever is signed in sees the planner. (Before Next.js 16: `middleware.ts`.) */

import { withPhoenix } from "@phoenix-auth/node/next";

import { phoenix } from "./lib/phoenix";

export const proxy = withPhoenix(phoenix, { protect: ["/planner"], signIn: "/sign-in" });

// Not for `/api`: handlers there ask by themselves, and Next.js keeps a copy of each body that passes through here.
export const config = { matcher: ["/planner/:path*"] };
