/** FastCGI 1.0 records, against records that are spelled by hand. */
import { test } from "node:test";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { BackendError } from "../../src/errors.ts";
import {
  abortRecord,
  ENDED,
  ERRORS,
  NOTHING,
  OUTPUT,
  RecordReader,
  RecordWriter,
  setKeepConnection,
  UNKNOWN,
} from "../../src/fastcgi/records.ts";
import { everySplit } from "../support/every_split.ts";
import {
  endRequest,
  readParams,
  readRecords,
  record,
  stderr,
  stdout,
} from "../support/fastcgi_records.ts";
import { concat, latin1, octets } from "../support/octets.ts";

interface Read {
  output: string;
  errors: string;
  ended: [appStatus: number, protocolStatus: number][];
  unknown: number;
}

/** Reads all of it; chunks are overwritten as they are taken back. */
function read(chunks: readonly Uint8Array[]): Read {
  const reader = new RecordReader();
  const found: Read = { output: "", errors: "", ended: [], unknown: 0 };
  for (const piece of chunks) {
    const chunk = piece.slice();
    reader.feed(chunk);
    for (;;) {
      const type = reader.next();
      if (type === NOTHING) break;
      const content = latin1(chunk.subarray(reader.start, reader.end));
      if (type === OUTPUT) found.output += content;
      else if (type === ERRORS) found.errors += content;
      else if (type === UNKNOWN) found.unknown++;
      else {
        assertEquals(type, ENDED);
        found.ended.push([reader.appStatus, reader.protocolStatus]);
      }
    }
    chunk.fill(0xee);
  }
  return found;
}

function assertMalformed(bytes: Uint8Array): void {
  for (
    const chunks of [
      [bytes],
      Array.from(bytes, (octet) => Uint8Array.of(octet)),
    ]
  ) {
    const error = assertThrows(() => read(chunks), BackendError, "malformed");
    assertEquals(error.status, 502);
  }
}

// ---- Reading ----

test("RecordReader reads a response, however it is cut", async () => {
  const bytes = concat([
    stdout("Status: 200\r\n\r\n", 3),
    stderr("oh\n"),
    record(11, "\x63\0\0\0\0\0\0\0", { id: 0, padding: 9 }),
    stdout("content", 255),
    stdout(""),
    record(7, "", { padding: 5 }),
    endRequest(-2, 3),
    stdout("next"),
    record(3, "\0\0\0\0\0\0\0\0", { padding: 8 }),
  ]);
  await everySplit(bytes, (chunks) => {
    assertEquals(read(chunks), {
      output: "Status: 200\r\n\r\ncontentnext",
      errors: "oh\n",
      ended: [[-2, 3], [0, 0]],
      unknown: 1,
    });
  });
});

test("RecordReader does not wait for a whole record", () => {
  const reader = new RecordReader();
  reader.feed(stdout("abcdef").subarray(0, 11));
  assertEquals(reader.next(), OUTPUT);
  assertEquals([reader.start, reader.end], [8, 11]);
  assertEquals(reader.next(), NOTHING);
});

const malformed: readonly [what: string, bytes: Uint8Array][] = [
  ["version 0", Uint8Array.of(0, 6, 0, 1, 0, 0, 0, 0)],
  ["version 2", Uint8Array.of(2, 6, 0, 1, 0, 0, 0, 0)],
  ["text", octets("HTTP/1.1 400 Bad Request\r\n")],
  ["type 0", record(0)],
  ["type 12", record(12)],
  ["BEGIN_REQUEST", record(1, "\0\x01\0\0\0\0\0\0")],
  ["GET_VALUES_RESULT", record(10, "", { id: 0 })],
  ["output with id 0", record(6, "a", { id: 0 })],
  ["output with id 2", record(6, "a", { id: 2 })],
  ["output with id 256", record(6, "a", { id: 256 })],
  ["an end with id 0", record(3, "\0\0\0\0\0\0\0\0", { id: 0 })],
  ["an empty end", record(3)],
  ["a short end", record(3, "\0\0\0\0\0\0\0")],
  ["a long end", record(3, "\0\0\0\0\0\0\0\0\0")],
  ["UNKNOWN_TYPE of a request", record(11, "\0\0\0\0\0\0\0\0")],
];

for (const [what, bytes] of malformed) {
  test(`RecordReader refuses ${what}`, () => assertMalformed(bytes));
}

test("RecordReader.outputAhead() tells what is left where all of it is here", () => {
  const ahead = (parts: readonly Uint8Array[], cut = 0) => {
    const bytes = concat(parts);
    const reader = new RecordReader();
    reader.feed(bytes.subarray(0, bytes.length - cut));
    assertEquals(reader.next(), OUTPUT);
    return reader.outputAhead();
  };
  assertEquals(ahead([stdout("abc"), endRequest()]), 0);
  assertEquals(ahead([stdout("abc", 7), stdout("de", 3), endRequest()]), 2);
  assertEquals(
    ahead([stdout("a"), stderr("bc"), stdout("d"), endRequest()]),
    1,
  );
  assertEquals(ahead([stdout("abc"), endRequest()], 1), -1);
  assertEquals(ahead([stdout("abc"), endRequest()], 9), -1);
  assertEquals(ahead([stdout("abc"), stdout("d")]), -1);
  assertEquals(ahead([stdout("abc")]), -1);
  assertEquals(ahead([stdout("abc")], 1), -1);
  assertEquals(ahead([stdout("abc"), endRequest(), stdout("d")]), 0);
});

test("RecordReader finds in any sequence of records what is in it", () => {
  const random = randomOf(1);
  for (let round = 0; round < 200; round++) {
    const expected: Read = { output: "", errors: "", ended: [], unknown: 0 };
    const parts: Uint8Array[] = [];
    for (let count = random(8); count >= 0; count--) {
      const text = "x".repeat(random(3) === 0 ? random(600) : random(4));
      const padding = random(2) === 0 ? 0 : random(256);
      const kind = random(4);
      if (kind === 0) {
        parts.push(record(7, text, { padding }));
        expected.errors += text;
      } else if (kind === 1) {
        parts.push(endRequest(round, 0));
        expected.ended.push([round, 0]);
      } else {
        parts.push(stdout(text, padding));
        expected.output += text;
      }
    }
    const bytes = concat(parts);
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < bytes.length;) {
      const size = 1 + random(random(2) === 0 ? 12 : 400);
      chunks.push(bytes.subarray(at, at += size));
    }
    assertEquals(read(chunks), expected);
  }
});

test("RecordReader survives what is no FastCGI", () => {
  const random = randomOf(2);
  for (let round = 0; round < 2000; round++) {
    const bytes = Uint8Array.from(
      { length: random(64) },
      (_, at) => at % 8 === 0 && random(4) > 0 ? 1 : random(12),
    );
    try {
      read([bytes.subarray(0, 7), bytes.subarray(7)]);
    } catch (error) {
      assert(error instanceof BackendError);
    }
  }
});

/** The same numbers below a bound each time. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

// ---- Writing ----

test("RecordWriter composes a request", () => {
  const writer = new RecordWriter();
  writer.begin();
  writer.put("A", "b");
  writer.put("EMPTY", "");
  writer.put("L", "\xe9".repeat(128));
  writer.endParams();
  writer.putContent(octets("abc"));
  writer.putContent(octets("de"));
  writer.endContent();
  assertEquals(
    writer.octets,
    concat([
      record(1, "\0\x01\0\0\0\0\0\0"),
      record(4, `\x01\x01Ab\x05\0EMPTY\x01\x80\0\0\x80L${"\xe9".repeat(128)}`),
      record(4),
      record(5, "abc"),
      record(5, "de"),
      record(5),
    ]),
  );
  setKeepConnection(writer.octets, true);
  assertEquals(readRecords(writer.octets)[0]?.content, "\0\x01\x01\0\0\0\0\0");
});

test("RecordWriter composes a request without parameters or content", () => {
  const writer = new RecordWriter();
  writer.begin();
  writer.endParams();
  writer.endContent();
  const types = readRecords(writer.octets).map(({ type }) => type);
  assertEquals(types, [1, 4, 5]);
});

test("RecordWriter uses its memory again, but for what is lent", () => {
  const writer = new RecordWriter();
  const compose = (value: string) => {
    writer.begin();
    writer.put("N", value);
    writer.endParams();
    writer.endContent();
    return writer.octets;
  };
  const first = compose("x".repeat(100));
  const copy = first.slice();
  assertEquals(compose("").buffer, first.buffer);
  compose("x".repeat(100));
  assertEquals(first, copy);
  writer.detach();
  compose("y".repeat(100));
  assertEquals(first, copy);
});

test("RecordWriter cuts what is too long for a record", () => {
  const writer = new RecordWriter();
  for (const size of [65_535, 65_536, 131_057, 400_000]) {
    writer.begin();
    const names: [string, string][] = [];
    // The parameters' own lengths: 1 + 4 + 1 and 1 + 1 + 1.
    names.push(["A", "v".repeat(size - 6 - 3)], ["B", ""]);
    for (const [name, value] of names) writer.put(name, value);
    writer.endParams();
    const content = Uint8Array.from({ length: size }, (_, at) => at % 251);
    writer.putContent(content);
    writer.endContent();
    const records = readRecords(writer.octets);
    const streamOf = (type: number) =>
      records.filter((one) => one.type === type).map((one) => one.content);
    for (const type of [4, 5]) {
      const pieces = streamOf(type);
      const whole = size <= 65_535 ? 1 : Math.ceil(size / 65_528);
      assertEquals(pieces.length, whole + 1);
      assertEquals(pieces.indexOf(""), pieces.length - 1, "ends too early");
    }
    assertEquals(readParams(streamOf(4).join("")), names);
    assertEquals(streamOf(5).join(""), latin1(content));
  }
});

test("abortRecord() asks for the end of a request", () => {
  assertEquals(abortRecord(), record(2));
});
