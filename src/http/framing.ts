/** Decides how a request's content is delimited: RFC 9112 §6.
 * Pure: nothing here reads or writes. */
import { HttpError } from "../errors.ts";
import type { HttpVersion } from "../exchange.ts";

/** The value of one Content-Length line. Throws `HttpError` 400, or 413 when
 * the number is beyond what can be counted. */
export function parseContentLength(value: string): number {
  // 1*DIGIT: no sign, no list, no white space, no other base (RFC 9112 §6.2).
  // "5, 5" might be folded to 5; the proxy before us might have read 55.
  if (!/^[0-9]+$/.test(value)) {
    throw new HttpError(400, "Malformed Content-Length", value);
  }
  const length = Number(value);
  if (length > Number.MAX_SAFE_INTEGER) {
    throw new HttpError(413, "Content-Length too large", value);
  }
  return length;
}

/** Accepts exactly one `chunked`, which is all that the gateway decodes.
 * `value` joins every Transfer-Encoding line. Throws `HttpError` 400 or 501. */
export function checkTransferEncoding(
  value: string,
  version: HttpVersion,
  besideContentLength: boolean,
): void {
  if (version < 11) {
    // RFC 9112 §6.1: such a message has faulty framing.
    throw new HttpError(400, "Transfer-Encoding in HTTP/1.0", value);
  }
  if (besideContentLength) {
    // Both framings present is how requests are smuggled (RFC 9112 §6.3).
    // We may pick one; the proxy before us may have picked the other.
    throw new HttpError(400, "Content-Length beside Transfer-Encoding", value);
  }
  if (value === "chunked") return;
  const codings = value.toLowerCase().split(",").map((coding) =>
    coding.replace(/^[ \t]+|[ \t]+$/g, "")
  );
  const final = codings.pop();
  if (final !== "chunked") {
    // Without chunked at the end nobody can tell where the content ends.
    throw new HttpError(
      400,
      "Transfer-Encoding does not end in chunked",
      value,
    );
  }
  if (codings.includes("chunked")) {
    throw new HttpError(400, "Content chunked twice", value);
  }
  if (codings.some((coding) => !/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(coding))) {
    throw new HttpError(400, "Malformed Transfer-Encoding", value);
  }
  if (codings.length > 0) {
    throw new HttpError(501, "Transfer coding not implemented", value);
  }
}
