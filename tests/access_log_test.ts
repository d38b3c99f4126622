import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { test } from "node:test";
import {
  type AccessWriter,
  compileAccessFormat,
  compileAccessWriter,
  compileAtoms,
  defaultAccessFormat,
  showsElapsed,
} from "../src/access_log.ts";
import { CommandError } from "../src/command_error.ts";
import type { AccessRecord, Fields, RequestHead } from "../src/exchange.ts";
import { LineOctets } from "../src/line.ts";

type Lines = readonly (readonly [name: string, value: string])[];

function fields(lines: Lines): Fields {
  return {
    length: lines.length,
    mayRepeat: true,
    name: (index) => ({ lower: lines[index]?.[0] ?? "", meta: undefined }),
    value: (index) => lines[index]?.[1] ?? "",
    get(lower) {
      const values = lines.filter(([name]) => name === lower)
        .map(([, value]) => value);
      return values.length === 0 ? undefined : values.join(", ");
    },
  };
}

function head(lines: Lines, more: Partial<RequestHead> = {}): RequestHead {
  return {
    method: "GET",
    target: "/a/b?x=1",
    targetForm: "origin",
    path: "/a/b",
    query: "x=1",
    authority: "example.test",
    version: 11,
    fields: fields(lines),
    framing: "none",
    contentLength: 0,
    keepAlive: true,
    expectContinue: false,
    ...more,
  };
}

const usual: Lines = [
  ["referer", "http://example.test/from"],
  ["user-agent", "curl/8.0"],
];

function record(more: Partial<AccessRecord> = {}): AccessRecord {
  return {
    head: head(usual),
    remote: { host: "192.0.2.7", port: 50_000 },
    status: 200,
    responseFields: [["Content-Type", "text/plain"], ["X-Id", "7"]],
    contentSent: 1234,
    startedAt: Date.UTC(2026, 10, 22, 5, 24, 31, 402),
    elapsedMs: 1234.5678,
    ...more,
  };
}

function format(text: string, more: Partial<AccessRecord> = {}): string {
  const line = compileAccessFormat(text, 412)(record(more));
  assertEquals(gathered(compileAccessWriter(text, 412), record(more)), line);
  return line;
}

/** The line of a record as it is gathered. */
function gathered(write: AccessWriter, record: AccessRecord): string {
  const lines = new LineOctets(1024);
  lines.begin();
  write(record, lines);
  lines.end();
  return new TextDecoder().decode(lines.take()).slice(0, -1);
}

const date = /\[\d\d\/Nov\/2026:\d\d:\d\d:31 [+-]\d{4}\]/;

test("the default format is gunicorn's", () => {
  const line = format(defaultAccessFormat);
  assertMatch(line, date);
  assertEquals(
    line.replace(date, "[t]"),
    '192.0.2.7 - - [t] "GET /a/b?x=1 HTTP/1.1" 200 1234 ' +
      '"http://example.test/from" "curl/8.0"',
  );
});

test("common and combined are Apache's", () => {
  assertEquals(
    format("common").replace(date, "[t]"),
    '192.0.2.7 - - [t] "GET /a/b?x=1 HTTP/1.1" 200 1234',
  );
  assertEquals(format("combined"), format(defaultAccessFormat));
});

const values: [atom: string, value: string][] = [
  ["%(h)s", "192.0.2.7"],
  ["%(l)s", "-"],
  ["%(u)s", "-"],
  ["%(r)s", "GET /a/b?x=1 HTTP/1.1"],
  ["%(s)s", "200"],
  ["%(m)s", "GET"],
  ["%(U)s", "/a/b"],
  ["%(q)s", "x=1"],
  ["%(H)s", "HTTP/1.1"],
  ["%(B)s", "1234"],
  ["%(b)s", "1234"],
  ["%(f)s", "http://example.test/from"],
  ["%(a)s", "curl/8.0"],
  ["%(T)s", "1"],
  ["%(M)s", "1234"],
  ["%(D)s", "1234568"],
  ["%(L)s", "1.234568"],
  ["%(p)s", "<412>"],
  ["%({User-Agent}i)s", "curl/8.0"],
  ["%({x-none}i)s", "-"],
  ["%({x-id}o)s", "7"],
  ["%({x-none}o)s", "-"],
  ["%({REQUEST_METHOD}e)s", "GET"],
  ["%({HTTP_USER_AGENT}e)s", "curl/8.0"],
  ["%({REMOTE_ADDR}e)s", "192.0.2.7"],
  ["%({toString}e)s", "-"],
  ["100%% %(s)s", "100% 200"],
];

for (const [atom, value] of values) {
  test(`atom ${atom}`, () => assertEquals(format(atom), value));
}

test("the local date is the one of the request", () => {
  const [text] = format("%(t)s").match(date) ?? [""];
  const [, day, time, zone] =
    /\[(\d\d)\/Nov\/2026:([\d:]+) ([+-]\d{4})\]/.exec(text) ?? [];
  assertEquals(
    Date.parse(`2026-11-${day}T${time}${zone?.slice(0, 3)}:${zone?.slice(3)}`),
    Date.UTC(2026, 10, 22, 5, 24, 31),
  );
});

test("the date does not stand still", () => {
  const formatter = compileAccessFormat("%(t)s", 1);
  const lines = [31_000, 31_999, 32_000].map((offset) =>
    formatter(record({ startedAt: Date.UTC(2026, 10, 22, 5, 24) + offset }))
  );
  assertEquals(lines[0], lines[1]);
  assert(lines[1] !== lines[2]);
});

test("a refused head is shown as -", () => {
  const line = format(defaultAccessFormat, {
    head: undefined,
    status: 400,
    contentSent: 0,
    responseFields: [],
  });
  assertEquals(
    line.replace(date, "[t]"),
    '192.0.2.7 - - [t] "-" 400 - "-" "-"',
  );
  for (const [atom] of values) format(atom, { head: undefined });
});

test("an unnamed Unix-domain peer is shown as -", () => {
  assertEquals(format("%(h)s", { remote: { host: "", port: 0 } }), "-");
});

test("the user comes from Basic credentials", () => {
  const user = (credentials: string) =>
    format("%(u)s", { head: head([["authorization", credentials]]) });
  assertEquals(user(`Basic ${btoa("alice:secret")}`), "alice");
  assertEquals(user(`basic ${btoa("alice:a:b")}`), "alice");
  assertEquals(user(`Basic ${btoa('a b\n"')}`), 'a\\x20b\\x0a\\"');
  assertEquals(user("Basic !!!"), "-");
  assertEquals(user("Bearer abc"), "-");
});

const hostile = 'x" 200 1 "-"\n192.0.2.9 \\ \x1b[31m \x7f \x85 \u00ff';

test("no value ends its quotes or its line", () => {
  const line = format('"%(a)s" "%(f)s" "%(r)s" %(q)s "%({x}i)s" "%({y}o)s"', {
    head: head(
      [["user-agent", hostile], ["referer", hostile], ["x", hostile]],
      {
        target: `/"${hostile}`,
        query: hostile,
      },
    ),
    responseFields: [["y", hostile]],
  });
  assertMatch(line, /^[\x20-\x7e]*$/);
  assertEquals(line.replace(/\\./g, "").match(/"/g)?.length, 10);
  assertStringIncludes(line, "\\x0a192.0.2.9 \\\\ \\x1b[31m \\x7f \\x85 \\xff");
});

test("json cannot be forged and gives every value back", () => {
  const line = format("json", {
    head: head([["user-agent", hostile], ["authorization", "Basic YTpi"]], {
      target: `/${hostile}`,
    }),
  });
  assertMatch(line, /^[\x20-\x7e]*$/);
  assertEquals(JSON.parse(line), {
    time: "2026-11-22T05:24:31.402Z",
    remote: "192.0.2.7",
    user: "a",
    method: "GET",
    target: `/${hostile}`,
    protocol: "HTTP/1.1",
    status: 200,
    bytes: 1234,
    milliseconds: 1234.568,
    referer: null,
    userAgent: hostile,
    pid: 412,
  });
});

test("json of a refused head has nulls", () => {
  const parsed = JSON.parse(format("json", { head: undefined, status: 400 }));
  assertEquals([parsed.method, parsed.target, parsed.status], [
    null,
    null,
    400,
  ]);
});

test("an unknown atom is refused with the list of atoms", () => {
  for (const text of ["%(z)s", "%({x}z)s", "%(toString)s", "%({x}h)s"]) {
    const error = assertThrows(
      () => compileAccessFormat(text, 1),
      CommandError,
      text,
    );
    assertStringIncludes(error.remedy, "{name}i");
  }
});

test("a stray percent sign is refused", () => {
  for (const text of ["100%", "%h", "%(h)d"]) {
    assertThrows(() => compileAccessFormat(text, 1), CommandError, "Stray");
  }
});

test("a line break in the format does not break lines", () => {
  assertEquals(format("a\nb %(s)s"), "a\\x0ab 200");
});

const commonFormat = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s';

/** Formats that are spelled out, and the same by their atoms. */
const spelledOut = [
  ["default", defaultAccessFormat],
  ["combined", defaultAccessFormat],
  ["common", commonFormat],
].map(([name = "", atoms = ""]) => ({
  spell: compileAccessFormat(name, 412),
  write: compileAccessWriter(name, 412),
  compiled: compileAtoms(atoms, 412),
}));

function assertAlike(given: AccessRecord): void {
  for (const { spell, write, compiled } of spelledOut) {
    const expected = compiled(given);
    for (let time = 0; time < 3; time++) {
      assertEquals(spell(given), expected);
      assertEquals(gathered(write, given), expected);
    }
  }
}

const basic = `Basic ${btoa('us er"\n:secret')}`;

const manyFields: Lines[] = [
  [],
  usual,
  [["referer", '"\x00'], ["user-agent", 'a"b\\\x7f\xe9']],
  [["referer", ""], ["user-agent", ""]],
  [["user-agent", "only"]],
  [["referer", "only"]],
  [["user-agent", "x".repeat(300)], ["referer", `/${"\xe9".repeat(300)}`]],
  [["user-agent", "a"], ["user-agent", "b"], ["referer", "c"]],
  [["authorization", basic]],
  [["authorization", "Bearer x"], ["x-refere", "no"]],
];

const manyRequests: Partial<RequestHead>[] = [
  {},
  { version: 10, method: "HEAD", target: "/?a\\b" },
  { target: '/"\r\nforged' },
  { method: "M'SEARCH", target: `/${"a".repeat(400)}` },
];

test("formats are spelled out as their atoms would spell them", () => {
  for (const lines of manyFields) {
    for (const request of manyRequests) {
      const one = head(lines, request);
      for (const host of ["192.0.2.7", "", "::1", 'a"b']) {
        for (const contentSent of [0, 7, 2 ** 33]) {
          const remote = { host, port: 0 };
          assertAlike(
            record({ head: one, remote, contentSent, status: 499 }),
          );
        }
      }
    }
  }
  assertAlike(record({ head: undefined }));
});

test("what is kept of fields that come again is nobody else's", () => {
  const all = manyFields.flatMap((lines) => {
    const recurring: Fields = {
      ...fields(lines),
      recurs: true,
      mayRepeat: lines.length === 3,
    };
    return manyRequests.map((more) => head([], { ...more, fields: recurring }));
  });
  const hosts = ["192.0.2.7", "192.0.2.8"];
  // Each after itself, and after any other.
  for (const one of all) {
    for (const other of [...all, undefined]) {
      for (const [index, host] of hosts.entries()) {
        assertAlike(record({
          head: index === 0 ? one : other,
          remote: { host, port: 0 },
          startedAt: Date.UTC(2026, 10, 22, 5, 24, index),
          contentSent: index,
        }));
      }
    }
  }
});

test("showsElapsed() knows the formats that tell how long a request took", () => {
  for (
    const name of ["dev", "json", "%(T)s", "%(h)s %(M)s", "%(D)s", "%(L)s"]
  ) {
    assertEquals(showsElapsed(name), true, name);
  }
  const others = ["default", "common", "combined", "%(t)s", "%({D}i)s", "D"];
  for (const name of others) assertEquals(showsElapsed(name), false, name);
  // Whatever changes with the time that was taken shows it.
  for (const [atom] of values) {
    const took = (elapsedMs: number) => format(atom, { elapsedMs });
    assertEquals(took(1) !== took(98_765.4321), showsElapsed(atom), atom);
  }
});
