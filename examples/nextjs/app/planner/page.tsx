import { getIdentity } from "@phoenix-auth/node/next";
import { redirect } from "next/navigation";

import { phoenix } from "../../lib/phoenix";
import { tasksOf } from "../../lib/planner";
import { Planner } from "./planner";

/** For whoever is signed in. `proxy.ts` has sent others away; the page asks again, because here the data is read. */
export default async function PlannerPage() {
  const identity = await getIdentity(phoenix);
  if (!identity) redirect("/sign-in?next=/planner");
  return (
    <main>
      <h1>Planner</h1>
      <dl>
        <dt>User</dt>
        <dd data-test="user-id">{identity.userId}</dd>
        <dt>Email</dt>
        <dd data-test="email">
          {identity.email} ({identity.emailVerified ? "verified" : "not verified"})
        </dd>
        <dt>Role</dt>
        <dd data-test="role">{identity.role}</dd>
        <dt>Session</dt>
        <dd data-test="session-id">{identity.sessionId}</dd>
      </dl>
      <Planner initial={tasksOf(identity.userId)} />
    </main>
  );
}
