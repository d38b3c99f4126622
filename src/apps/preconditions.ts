/** Validators of a file, and the conditions that a request may put on them:
 * RFC 9110 §8.8 and §13. Pure. */
import type { Fields, RequestHead } from "../exchange.ts";

/** What tells one state of a file from another. */
export interface Validators {
  /** With its quotes, and with W/ before them where it is weak. */
  readonly etag: string;
  /** A second of Last-Modified, in milliseconds since the epoch. */
  readonly modifiedMs: number;
  /** Whether the file has rested long enough that the date is a strong
   * validator (RFC 9110 §8.8.2.2). */
  readonly settled: boolean;
}

/** A file that was changed this recently may be changed again without a trace in
 * its date: clocks of file systems tick more slowly than ours. */
const restMs = 2000;

/** The validators of a file, from its length and the time of its last change.
 * The tag is strong unless the change is so recent that another one could hide
 * behind it: then parts of two states must not be put together, and nothing
 * weaker than equal octets may be claimed. `coding` tells apart the encoded
 * forms of a file. */
export function validatorsOf(
  file: { readonly size: number; readonly modifiedMs: number },
  coding: string,
  nowMs: number,
): Validators {
  const microseconds = Math.round(file.modifiedMs * 1000);
  const settled = nowMs - file.modifiedMs >= restMs;
  const suffix = coding === "" ? "" : `-${coding}`;
  const opaque = `"${file.size.toString(16)}-${
    microseconds.toString(16)
  }${suffix}"`;
  return {
    etag: settled ? opaque : `W/${opaque}`,
    // No date of ours lies in the future (RFC 9110 §8.8.2.1).
    modifiedMs: Math.floor(Math.min(file.modifiedMs, nowMs) / 1000) * 1000,
    settled,
  };
}

/** What the conditions of a request come to. */
export type Verdict = "proceed" | "not modified" | "failed";

/** Evaluates the conditions in the order of RFC 9110 §13.2.2. The method is GET
 * or HEAD, and there is a representation. */
export function judge(fields: Fields, validators: Validators): Verdict {
  const ifMatch = fields.get("if-match");
  if (ifMatch !== undefined) {
    if (!lists(ifMatch, validators.etag, "strong")) return "failed";
  } else {
    const limit = dateOf(fields.get("if-unmodified-since"));
    if (limit !== undefined && validators.modifiedMs > limit) return "failed";
  }
  const ifNoneMatch = fields.get("if-none-match");
  if (ifNoneMatch !== undefined) {
    return lists(ifNoneMatch, validators.etag, "weak")
      ? "not modified"
      : "proceed";
  }
  const since = dateOf(fields.get("if-modified-since"));
  if (since !== undefined && validators.modifiedMs <= since) {
    return "not modified";
  }
  return "proceed";
}

/** Whether Range counts: it does for GET alone, and where If-Range names the
 * very state that there is (RFC 9110 §13.1.5, §14.2). */
export function mayTakeRange(
  { method, fields }: RequestHead,
  validators: Validators,
): boolean {
  if (method !== "GET") return false;
  const condition = fields.get("if-range");
  if (condition === undefined) return true;
  if (/^(W\/)?"/.test(condition)) {
    return sameTag(condition, validators.etag, "strong");
  }
  return validators.settled && dateOf(condition) === validators.modifiedMs;
}

type Comparison = "strong" | "weak";

/** Whether a list of entity tags, or "*", has this one. */
function lists(list: string, etag: string, comparison: Comparison): boolean {
  if (list.trim() === "*") return true;
  const tags = list.match(/(?:W\/)?"[\x21\x23-\x7e\x80-\xff]*"/g) ?? [];
  return tags.some((tag) => sameTag(tag, etag, comparison));
}

/** RFC 9110 §8.8.3.2. */
function sameTag(a: string, b: string, comparison: Comparison): boolean {
  if (comparison === "strong") return a === b && !a.startsWith("W/");
  return a.replace(/^W\//, "") === b.replace(/^W\//, "");
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec";

/** The three forms of RFC 9110 §5.6.7, as patterns with the same names. */
const dateForms: readonly RegExp[] = [
  /^\w{3}, (?<day>\d\d) (?<month>\w{3}) (?<year>\d{4}) (?<time>\d\d:\d\d:\d\d) GMT$/,
  /^\w{6,9}, (?<day>\d\d)-(?<month>\w{3})-(?<year>\d\d) (?<time>\d\d:\d\d:\d\d) GMT$/,
  /^\w{3} (?<month>\w{3}) (?<day>[ \d]\d) (?<time>\d\d:\d\d:\d\d) (?<year>\d{4})$/,
];

/** An HTTP-date in milliseconds since the epoch; undefined where there is none,
 * and where it is malformed, which a condition has to overlook. */
export function dateOf(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  for (const form of dateForms) {
    const parts = form.exec(value)?.groups;
    if (parts === undefined) continue;
    const { day = "", month = "", year = "", time = "" } = parts;
    const index = months.indexOf(month);
    if (index < 0 || index % 3 !== 0) return undefined;
    const [hours = 0, minutes = 0, seconds = 0] = time.split(":").map(Number);
    if (hours > 23 || minutes > 59 || seconds > 60) return undefined;
    return Date.UTC(
      year.length === 2 ? wholeYear(Number(year)) : Number(year),
      index / 3,
      Number(day),
      hours,
      minutes,
      seconds,
    );
  }
  return undefined;
}

/** A year of two digits is the latest that is not more than 50 years ahead. */
function wholeYear(twoDigits: number): number {
  const now = new Date().getUTCFullYear();
  const year = now - now % 100 + twoDigits;
  return year > now + 50 ? year - 100 : year;
}
