/**
 * Errors that say whose fault it was: the peer's, the line's, the
 * application's, or that of a program behind us. Anything else that is thrown
 * is our own fault.
 *
 * @module
 */

/** The peer broke the protocol or a limit. */
export class HttpError extends Error {
  /** "HttpError". */
  override readonly name = "HttpError";
  /** What to answer: 400, 408, 413, 414, 417, 431, 501 or 505. */
  readonly status: number;
  /** The offending octets, for the log only; escape them there. */
  readonly detail: string | undefined;

  /** `message` is a constant of ours and may be shown to the peer, so it never
   * quotes it: what the peer sent goes into `detail`. */
  constructor(status: number, message: string, detail?: string) {
    super(message);
    this.status = status;
    this.detail = detail;
  }
}

/** The transport failed or the peer left: logged at debug, never answered. */
export class StreamError extends Error {
  /** "StreamError". */
  override readonly name = "StreamError";
}

/** The application broke its contract: 500 if nothing is sent, else a cut. */
export class ApplicationError extends Error {
  /** "ApplicationError". */
  override readonly name = "ApplicationError";
}

/** A program behind us (a FastCGI responder, a CGI program) failed, broke its
 * protocol, is too busy or too slow, or there is no room for what it is to be
 * given: answered if nothing is sent, else a cut. */
export class BackendError extends Error {
  /** "BackendError". */
  override readonly name = "BackendError";
  /** What to answer. */
  readonly status: 502 | 503 | 504 | 507;
  /** The offending octets, for the log only; escape them there. */
  readonly detail: string | undefined;

  /** `message` never quotes what the program sent: that goes into `detail`. */
  constructor(
    status: 502 | 503 | 504 | 507,
    message: string,
    detail?: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.status = status;
    this.detail = detail;
  }
}
