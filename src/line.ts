/**
 * A line of a log, put together piece by piece: as octets, in memory that is
 * used again, or as text. Strings would be made of pieces, live until they are
 * written, and cost the collector more than the line itself.
 * Pure: nothing here reads or writes.
 */

/** A text that comes in one line after the other, and its octets. */
export interface KeptText {
  readonly text: string;
  readonly octets: Uint8Array;
}

const encoder = new TextEncoder();

/** Encodes a text, for many lines. */
export function keepText(text: string): KeptText {
  return { text, octets: encoder.encode(text) };
}

/** A line that is put together. */
export interface Line {
  /** Adds a text. */
  put(text: string): void;
  /** Adds a text that is kept. */
  putKept(piece: KeptText): void;
  /** Adds a text where nothing in it needs to be escaped between quotes: where
   * it is visible ASCII and spaces, without quotes and backslashes. Where it
   * returns false, it has added nothing; it need not look at long texts. */
  putIfPlain(text: string): boolean;
  /** Adds a whole number that is not negative, in decimal digits. */
  putNumber(value: number): void;
}

/** Whether a text is visible ASCII and spaces, without quotes and backslashes. */
export function isPlain(text: string): boolean {
  return !/[^\x20\x21\x23-\x5b\x5d-\x7e]/.test(text);
}

/** A line as text. */
export class TextLine implements Line {
  /** What was added. */
  text = "";

  put(text: string): void {
    this.text += text;
  }

  putKept({ text }: KeptText): void {
    this.text += text;
  }

  putIfPlain(text: string): boolean {
    if (!isPlain(text)) return false;
    this.text += text;
    return true;
  }

  putNumber(value: number): void {
    this.text += value;
  }
}

/** Texts up to these lengths are cheaper in a loop than by a call. */
const shortText = 16;
const shortPlainText = 48;

const LF = 0x0a;
const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const TILDE = 0x7e;

/** Whole lines as UTF-8, one behind the other, and one that is put together. */
export class LineOctets implements Line {
  readonly #usualRoom: number;
  #octets: Uint8Array = noRoom;
  /** Where the whole lines end. */
  #whole = 0;
  /** Where the line ends that is put together. */
  #end = 0;

  /** Memory for so many octets is used again and again. */
  constructor(usualRoom: number) {
    this.#usualRoom = usualRoom;
  }

  /** How many octets the whole lines have. */
  get size(): number {
    return this.#whole;
  }

  /** Begins a line. One that was begun before and has not ended is dropped. */
  begin(): void {
    this.#end = this.#whole;
  }

  put(text: string): void {
    const { length } = text;
    if (length > shortText) return this.#encode(text);
    const octets = this.#reserve(length);
    const at = this.#end;
    let seen = 0;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      octets[at + i] = code;
      seen |= code;
    }
    if (seen > 0x7f) return this.#encode(text);
    this.#end = at + length;
  }

  putKept({ octets }: KeptText): void {
    this.#reserve(octets.length).set(octets, this.#end);
    this.#end += octets.length;
  }

  putIfPlain(text: string): boolean {
    const { length } = text;
    if (length > shortPlainText) return false;
    const octets = this.#reserve(length);
    const at = this.#end;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (
        code < SPACE || code > TILDE || code === QUOTE || code === BACKSLASH
      ) return false;
      octets[at + i] = code;
    }
    this.#end = at + length;
    return true;
  }

  putNumber(value: number): void {
    if (value > 0x7fff_ffff) return this.put(String(value));
    let digits = 1;
    for (let bound = 10; value >= bound; bound *= 10) digits++;
    const octets = this.#reserve(digits);
    let rest = value;
    for (let at = this.#end + digits - 1; at >= this.#end; at--) {
      const next = (rest / 10) | 0;
      octets[at] = 0x30 + rest - 10 * next;
      rest = next;
    }
    this.#end += digits;
  }

  /** Ends the line. */
  end(): void {
    this.#reserve(1)[this.#end++] = LF;
    this.#whole = this.#end;
  }

  /** The whole lines, which are no longer kept here: the memory is valid until
   * the next line begins. One that was begun is dropped. */
  take(): Uint8Array {
    const lines = this.#octets.subarray(0, this.#whole);
    this.#whole = 0;
    if (this.#octets.length > this.#usualRoom) this.#octets = noRoom;
    return lines;
  }

  #encode(text: string): void {
    // A UTF-16 code unit becomes three octets of UTF-8 at most.
    const most = 3 * text.length;
    const room = this.#reserve(most).subarray(this.#end, this.#end + most);
    this.#end += encoder.encodeInto(text, room).written;
  }

  /** Makes room for so many octets more; returns the memory. */
  #reserve(size: number): Uint8Array {
    if (this.#end + size > this.#octets.length) this.#grow(this.#end + size);
    return this.#octets;
  }

  #grow(least: number): void {
    const size = least > this.#usualRoom ? 2 * least : this.#usualRoom;
    const octets = new Uint8Array(size);
    octets.set(this.#octets.subarray(0, this.#end));
    this.#octets = octets;
  }
}

const noRoom = new Uint8Array(0);
