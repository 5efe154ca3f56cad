import assert from "node:assert/strict";
import { ScDiVaError } from "scdiva";

/** For `assert.rejects`: an error of this package with this code and message. */
export const codeIs = (code, text) => (error) => {
  assert.ok(error instanceof ScDiVaError, String(error));
  assert.equal(error.code, code, error.message);
  assert.match(error.message, text);
  return true;
};
