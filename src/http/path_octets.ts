/** Paths of URLs and of environs: octets behind percent signs, and octets as
 * characters. */

/** Each octet one character; what is not a percent-encoding stays as it is. */
export function percentDecoded(path: string): string {
  if (!path.includes("%")) return path;
  return path.replace(
    /%([0-9A-Fa-f]{2})/g,
    (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** The reverse for a path of octets: everything is encoded that is no `pchar`
 * of RFC 3986 and no "/". */
export function percentEncoded(path: string): string {
  return path.replace(
    /[^A-Za-z0-9\-._~!$&'()*+,;=:@/]/g,
    (octet) =>
      `%${octet.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}

const encoder = new TextEncoder();

/** The UTF-8 octets of a text, each one character: how a path of this machine
 * stands in an environ. */
export function utf8Octets(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  let octets = "";
  for (const octet of encoder.encode(text)) {
    octets += String.fromCharCode(octet);
  }
  return octets;
}
