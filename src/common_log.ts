/**
 * The common log format and the combined one, which is the default, spelled
 * out: most logs are written in them, and that costs a third of what their atoms
 * cost one by one. A client mostly sends the fields of its last request once
 * more: what was made of them is kept as octets, which are copied into the line.
 */
import { basicUser, clock, escape, shown, shownWord } from "./access_values.ts";
import type { AccessRecord, Fields, RequestHead } from "./exchange.ts";
import { keepText, type KeptText, type Line, TextLine } from "./line.ts";

/** Puts what the common log format tells of a record. */
export function putCommon(record: AccessRecord, line: Line): void {
  putParts(record, recall(record.head), line);
}

/** Puts what the combined log format tells of a record. */
export function putCombined(record: AccessRecord, line: Line): void {
  const { head } = record;
  const kept = recall(head);
  putParts(record, kept, line);
  if (head === undefined) line.put(noEnding);
  else if (kept === undefined) putEnding(head.fields, line);
  else line.putKept(kept.ending ??= keep(putEnding, head.fields));
}

function putParts(
  { head, remote, status, contentSent, startedAt }: AccessRecord,
  kept: KeptParts | undefined,
  line: Line,
): void {
  hosts.put(remote.host, line);
  if (head === undefined) {
    line.putKept(nameless(startedAt));
    line.put('-" ');
  } else {
    if (kept?.givesName ?? givesName(head.fields)) {
      line.put(` - ${shownWord(basicUser(head))} ${clock(startedAt)} "`);
    } else line.putKept(nameless(startedAt));
    if (kept === undefined || !kept.isOf(head)) putRequest(head, line);
    else line.putKept(kept.request ??= keep(putRequest, head));
  }
  line.putNumber(status);
  if (contentSent === 0) line.put(" -");
  else {
    line.put(" ");
    line.putNumber(contentSent);
  }
}

function givesName(fields: Fields): boolean {
  for (let i = 0; i < fields.length; i++) {
    if (fields.name(i).lower === "authorization") return true;
  }
  return false;
}

function putRequest(head: RequestHead, line: Line): void {
  putEscaped(head.method, line);
  line.put(" ");
  putEscaped(head.target, line);
  line.putKept(head.version === 11 ? version11 : version10);
}

const version11 = keepText(' HTTP/1.1" ');
const version10 = keepText(' HTTP/1.0" ');

function putEnding(fields: Fields, line: Line): void {
  let referer: string | undefined;
  let agent: string | undefined;
  if (fields.mayRepeat) {
    referer = fields.get("referer");
    agent = fields.get("user-agent");
  } else {
    for (let i = 0; i < fields.length; i++) {
      const { lower } = fields.name(i);
      if (lower === "referer") referer = fields.value(i);
      else if (lower === "user-agent") agent = fields.value(i);
    }
  }
  if (referer === undefined && agent === undefined) return line.put(noEnding);
  line.put(' "');
  putEscaped(referer || "-", line);
  line.put('" "');
  agents.put(agent, line);
  line.put('"');
}

const noEnding = ' "-" "-"';

function putEscaped(text: string, line: Line): void {
  if (!line.putIfPlain(text)) line.put(escape(text));
}

// ---- What is kept ----

function keep<T>(put: (of: T, line: Line) => void, of: T): KeptText {
  const line = new TextLine();
  put(of, line);
  return keepText(line.text);
}

/** What was made of fields that came again. */
class KeptParts {
  readonly givesName: boolean;
  /** The request line of the last head that had them. */
  request: KeptText | undefined;
  ending: KeptText | undefined;
  #head: RequestHead;

  constructor(head: RequestHead) {
    this.givesName = givesName(head.fields);
    this.#head = head;
  }

  /** Whether this is the last head again; if not, it is from now on. */
  isOf(head: RequestHead): boolean {
    if (head === this.#head) return true;
    this.#head = head;
    this.request = undefined;
    return false;
  }
}

const keptParts = new WeakMap<Fields, KeptParts>();

function recall(head: RequestHead | undefined): KeptParts | undefined {
  if (head?.fields.recurs !== true) return undefined;
  let parts = keptParts.get(head.fields);
  if (parts === undefined) {
    keptParts.set(head.fields, parts = new KeptParts(head));
  }
  return parts;
}

/** A value that is mostly the same as in the line before: what comes twice in a
 * row is neither escaped again nor encoded. */
class Recurring {
  #value: string | undefined;
  #shown = "-";
  #kept: KeptText | undefined;

  put(value: string | undefined, line: Line): void {
    if (value === this.#value) {
      return line.putKept(this.#kept ??= keepText(this.#shown));
    }
    this.#value = value;
    this.#shown = shown(value);
    this.#kept = undefined;
    line.put(this.#shown);
  }
}

const hosts = new Recurring();
const agents = new Recurring();

let namelessClock = "";
let namelessKept = keepText("");

/** What stands between the host and the request of somebody without a name. */
function nameless(startedAt: number): KeptText {
  const text = clock(startedAt);
  if (text !== namelessClock) {
    namelessClock = text;
    namelessKept = keepText(` - - ${text} "`);
  }
  return namelessKept;
}
