/**
 * What the formats of the access log have in common: how the values of a request
 * are spelled. Whatever a client or an application chose is escaped: no value
 * can leave its quotes or its line.
 */
import type { RequestHead } from "./exchange.ts";
import { isPlain } from "./line.ts";
import { minutesEast, spellLocal } from "./local_time.ts";
import { escapeForLog } from "./logger.ts";

/** What was asked for: not escaped. */
export function requestLine(head: RequestHead): string {
  return `${head.method} ${head.target} ${protocol(head)}`;
}

/** The version that was answered. */
export function protocol({ version }: RequestHead): string {
  return version === 11 ? "HTTP/1.1" : "HTTP/1.0";
}

/** RFC 7617 §2: what precedes the first colon of the decoded credentials. */
export function basicUser(head: RequestHead | undefined): string | undefined {
  const value = head?.fields.get("authorization");
  if (value === undefined || !/^basic /i.test(value)) return undefined;
  try {
    return atob(value.slice("basic ".length).trim()).split(":", 1)[0];
  } catch {
    return undefined;
  }
}

/** A value as it stands between quotes; "-" when there is none. */
export function shown(value: string | undefined): string {
  return value === undefined || value === "" ? "-" : escape(value);
}

/** A value that stands without quotes, so a space would begin the next one. */
export function shownWord(value: string | undefined): string {
  return shown(value).replaceAll(" ", "\\x20");
}

/** A value as it stands between quotes, however empty. */
export function escape(value: string): string {
  // Whatever is harmless, and that is nearly everything, is tested once.
  if (isPlain(value)) return value;
  return escapeForLog(value).replaceAll('"', '\\"');
}

const months = [
  "Jan",
  "Feb",
  "Mar",
  "Apr",
  "May",
  "Jun",
  "Jul",
  "Aug",
  "Sep",
  "Oct",
  "Nov",
  "Dec",
];
let clockSecond = NaN;
let clockText = "";

/** `[22/Nov/2026:05:24:31 +0100]`, local time; spelled once a second. */
export function clock(time: number): string {
  const second = Math.floor(time / 1000);
  if (second !== clockSecond) {
    clockSecond = second;
    clockText = spellClock(second * 1000);
  }
  return clockText;
}

function spellClock(time: number): string {
  const [date = "", clock = ""] = spellLocal(time).split("T");
  const [year, month, day] = date.split("-");
  const east = minutesEast(time);
  const hours = pad(Math.floor(Math.abs(east) / 60));
  const zone = `${east < 0 ? "-" : "+"}${hours}${pad(Math.abs(east) % 60)}`;
  return `[${day}/${months[Number(month) - 1]}/${year}:${clock} ${zone}]`;
}

function pad(value: number): string {
  return String(value).padStart(2, "0");
}
