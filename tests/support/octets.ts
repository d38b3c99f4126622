/** Octets as text, one character each, so that a test can show the wire. */

/** The octets of `text`, whose characters must not exceed U+00FF. */
export function octets(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0xff) {
      throw new RangeError("Not an octet: U+" + code.toString(16));
    }
    bytes[index] = code;
  }
  return bytes;
}

/** One character per octet. */
export function latin1(bytes: Uint8Array): string {
  let text = "";
  // Spreading a large array overflows the stack.
  for (let start = 0; start < bytes.length; start += 4096) {
    text += String.fromCharCode(...bytes.subarray(start, start + 4096));
  }
  return text;
}

/** All parts in one array of its own. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** What was written as text, or as UTF-8. */
export function asText(content: string | Uint8Array): string {
  return typeof content === "string"
    ? content
    : new TextDecoder().decode(content);
}
