/** The Date field (RFC 9110 §6.6.1), formatted once a second. */

let second = -1;
let octets = new Uint8Array(0);

/** The line `Date: …` with its CRLF, as octets that are shared: do not write.
 * `toUTCString()` is IMF-fixdate (RFC 9110 §5.6.7) by ECMA-262. */
export function dateLine(): Uint8Array {
  const now = Date.now();
  const current = Math.floor(now / 1000);
  if (current !== second) {
    second = current;
    octets = new TextEncoder().encode(
      `Date: ${new Date(now).toUTCString()}\r\n`,
    );
  }
  return octets;
}
