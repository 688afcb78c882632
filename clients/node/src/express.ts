/** For Express 4 and 5, and whatever else has requests and answers of Node's `http`. */

import type { IncomingMessage, ServerResponse } from "node:http";

import { PhoenixError } from "./errors.js";
import type { Identity, Phoenix } from "./phoenix.js";
import { type Condition, meets, refusal } from "./problem.js";

declare global {
  namespace Express {
    interface Request {
      /** Whoever sent the request; null when nobody is proven. Set by `phoenixIdentity`. */
      phoenix?: Identity | null;
    }
  }
}

interface IdentifiedRequest extends IncomingMessage {
  phoenix?: Identity | null;
}

type Middleware = (request: IdentifiedRequest, response: ServerResponse, next: (error?: unknown) => void) => void;

/** Requests of which nobody could say who sent them. */
const undecided = new WeakSet<IncomingMessage>();

/** Sets `request.phoenix`. Refuses nobody. */
export function phoenixIdentity(phoenix: Phoenix): Middleware {
  return (request, _response, next) => {
    phoenix
      .require(request.headers)
      .catch((error: unknown) => {
        if (!(error instanceof PhoenixError)) throw error;
        if (error.status === 503) undecided.add(request);
        return null;
      })
      .then((identity) => {
        request.phoenix = identity;
        next();
      }, next);
  };
}

/**
 * Lets only those pass who are signed in, and have one of the roles if any are given. Others get 401 or 403, and all
 * get 503 while Phoenix's keys cannot be had. Stands behind {@link phoenixIdentity}.
 */
export function requireIdentity(condition: Condition = {}): Middleware {
  return (request, response, next) => {
    const { phoenix: identity } = request;
    if (identity === undefined) {
      next(new Error("requireIdentity: phoenixIdentity must come before it"));
    } else if (identity === null) {
      send(response, undecided.has(request) ? 503 : 401);
    } else if (meets(identity, condition)) {
      next();
    } else {
      send(response, 403);
    }
  };
}

function send(response: ServerResponse, status: 401 | 403 | 503): void {
  const { headers, body } = refusal(status);
  response.writeHead(status, headers).end(body);
}
