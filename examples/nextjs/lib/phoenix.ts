/** The one verifier of the application: it keeps Phoenix's keys. */

import { createPhoenix } from "@phoenix-auth/node";

export const phoenix = createPhoenix({
  audience: process.env["PHOENIX_AUDIENCE"] ?? "app",
  jwksUrl: process.env["PHOENIX_JWKS_URL"] ?? "http://127.0.0.1:8080/.well-known/jwks.json",
  onFailure: (error) => console.error(JSON.stringify({ event: "phoenix", code: error.code, message: error.message })),
});
