import { getIdentity } from "@phoenix-auth/node/next";
import Link from "next/link";

import { phoenix } from "../lib/phoenix";

/** Everybody may see it; it greets whoever is signed in. */
export default async function Home() {
  const identity = await getIdentity(phoenix);
  return (
    <main>
      <h1>Planner</h1>
      <p data-test="greeting">{identity ? `Hello, ${identity.email}` : "You are not signed in."}</p>
      <p>
        <Link href="/planner" prefetch={false}>
          Planner
        </Link>{" "}
        | <Link href="/sign-in">Sign in</Link> | <Link href="/sign-up">Sign up</Link>
      </p>
    </main>
  );
}
