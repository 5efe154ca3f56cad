/**
 * What went wrong, as a name that stays:
 * `file` (a file is not what it should be; the message names file and place), `io` (it could not be read), `argument`, `no-device`,
 * `device`, `device-lost`, `memory` (there is not enough), `cancelled`, `network` (a model's file did not arrive), `disposed`, `internal` (a defect of this package).
 */
export type ErrorCode =
  | "file"
  | "io"
  | "argument"
  | "no-device"
  | "device"
  | "device-lost"
  | "memory"
  | "cancelled"
  | "network"
  | "disposed"
  | "internal";

/** Every promise of this package is rejected with one of these. */
export class ScDiVaError extends Error {
  override readonly name = "ScDiVaError";
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** Of an `analyse` that was cancelled or failed: cells that keep their answers. The same call goes on from there. */
    readonly nKept = 0,
  ) {
    super(message);
  }
}
