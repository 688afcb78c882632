/** Verifies who Phoenix says is calling. Runs in Node and in edge runtimes: nothing here or below is Node's own. */

export { MAX_ASSERTION_LENGTH, PhoenixError, type PhoenixErrorCode } from "./errors.js";
export type { KeySet } from "./keys.js";
export {
  ASSERTION_HEADER,
  createPhoenix,
  type Identity,
  type Phoenix,
  type PhoenixOptions,
  type RequestHeaders,
} from "./phoenix.js";
