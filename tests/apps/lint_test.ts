import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { FileWrapper } from "../../src/apps/file_wrapper.ts";
import { lint } from "../../src/apps/lint.ts";
import { createEnviron } from "../../src/environ.ts";
import { ApplicationError } from "../../src/errors.ts";
import type {
  Application,
  Environ,
  ErrorStream,
  InputStream,
  ResponseBody,
  ResponseHeaders,
  StartResponse,
} from "../../src/wsgi.ts";
import {
  bytes,
  FakeExchange,
  type FakeRequest,
  text,
} from "../support/fake_exchange.ts";

const plain: ResponseHeaders = [["Content-Type", "text/plain"]];

const silentErrors: ErrorStream = { write() {}, writelines() {}, flush() {} };

function environOf(request: FakeRequest = {}): Environ {
  return createEnviron(new FakeExchange(request), {
    errors: silentErrors,
    scriptName: "",
    multithread: false,
    multiprocess: false,
    software: "headgate/test",
    fileWrapper: FileWrapper,
  });
}

const written: string[] = [];

/** A server's startResponse that accepts everything. */
const startResponse: StartResponse = () => (content) => {
  written.push(text(content));
  return Promise.resolve();
};

const good: Application = (_environ, startResponse) => {
  startResponse("200 OK", plain);
  return [bytes("good")];
};

/** What lint says when the server hands over such an environ. */
function environRefusal(change: (environ: Environ) => unknown): string {
  const environ = environOf();
  const changed = change(environ);
  const handed = typeof changed === "object" ? changed as Environ : environ;
  return assertThrows(
    () => lint(good)(handed, startResponse),
    ApplicationError,
  ).message;
}

/** What lint says to such an application, called and iterated. */
async function refusal(app: unknown, request?: FakeRequest): Promise<string> {
  const { message } = await assertRejects(async () => {
    const linted = lint(app as Application);
    const body = await linted(environOf(request), startResponse);
    for await (const _block of body) { /* iterated for its errors */ }
    await body.close?.();
  }, ApplicationError);
  return message;
}

/** What lint says to such arguments of startResponse. */
function startRefusal(...args: unknown[]): Promise<string> {
  return refusal((_environ: Environ, startResponse: StartResponse) => {
    startResponse(...args as Parameters<StartResponse>);
    return [];
  });
}

test("lint() lets a good application be", async () => {
  const body = await lint(good)(environOf(), startResponse);
  assert(Array.isArray(body));
  assertEquals(body.map(text), ["good"]);
});

test("lint() lets every environ of ours be", async () => {
  const requests: FakeRequest[] = [
    {},
    { target: "/a%ff?b" },
    { method: "OPTIONS", target: "*" },
    { target: "http://example.com" },
    { fields: [] },
    {
      fields: [],
      local: { host: "/run/x", port: 0 },
      remote: { host: "", port: 0 },
    },
    {
      fields: [["Content-Type", "a/b"], ["Content-Length", "1"]],
      content: ["x"],
    },
    { content: ["x"], scheme: "https", version: 10 },
  ];
  for (const request of requests) {
    await lint(good)(environOf(request), startResponse);
  }
});

test("lint() stays synchronous where the application is", () => {
  assert(!(lint(good)(environOf(), startResponse) instanceof Promise));
  assert(
    lint(async (...call) => await good(...call))(
      environOf(),
      startResponse,
    ) instanceof
      Promise,
  );
});

test("lint() wants two arguments", () => {
  const linted = lint(good) as (...args: unknown[]) => unknown;
  for (const args of [[], [environOf()], [environOf(), startResponse, 1]]) {
    assertThrows(() => linted(...args), ApplicationError, "two arguments");
  }
  assertThrows(
    () => linted(environOf(), "startResponse"),
    ApplicationError,
    "must be a function, not a string",
  );
});

// The environ

test("lint() wants a plain object for an environ", () => {
  for (const environ of [new Map(), [], new (class Environ {})()]) {
    assertStringIncludes(environRefusal(() => environ), "a plain object");
  }
});

test("lint() names a key that is missing", () => {
  const keys = [
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.input",
    "wsgi.errors",
    "wsgi.multithread",
    "wsgi.multiprocess",
    "wsgi.run_once",
  ];
  for (const key of keys) {
    assertEquals(
      environRefusal((environ) => void delete environ[key]),
      `The environ must hold ${key}`,
    );
  }
});

test("lint() names a value that is wrong", () => {
  const cases: [key: string, value: unknown, complaint: string][] = [
    ["HTTP_CONTENT_TYPE", "a", "must not hold HTTP_CONTENT_TYPE"],
    ["HTTP_CONTENT_LENGTH", "1", "must not hold HTTP_CONTENT_LENGTH"],
    ["HTTP_X", undefined, "HTTP_X must be a string, not undefined"],
    ["HTTP_X", 1, "HTTP_X must be a string, not a number"],
    ["HTTP_X", "\u0100", "no character above U+00FF"],
    ["REQUEST_METHOD", "", "REQUEST_METHOD must not be empty"],
    ["SERVER_NAME", "", "SERVER_NAME must not be empty"],
    ["SERVER_PORT", "", "SERVER_PORT must not be empty"],
    ["SERVER_PORT", 80, "SERVER_PORT must be a string"],
    ["SERVER_PORT", "http", "SERVER_PORT must be a number"],
    ["CONTENT_LENGTH", "-1", "CONTENT_LENGTH must be a number"],
    ["SCRIPT_NAME", "a", "SCRIPT_NAME must start with"],
    ["SCRIPT_NAME", "/", 'SCRIPT_NAME must be "" at the root'],
    ["PATH_INFO", "a", "PATH_INFO must start with"],
    ["PATH_INFO", "*", "PATH_INFO must start with"],
    ["PATH_INFO", "", 'PATH_INFO must be "/" at least'],
    ["wsgi.version", "1.0", "wsgi.version must be [1, 0]"],
    ["wsgi.version", [1, 1], "wsgi.version must be [1, 0]"],
    ["wsgi.url_scheme", "ftp", "wsgi.url_scheme must be"],
    ["wsgi.multithread", 0, "wsgi.multithread must be a boolean"],
    ["wsgi.multiprocess", "no", "wsgi.multiprocess must be a boolean"],
    ["wsgi.run_once", undefined, "wsgi.run_once must be a boolean"],
    ["wsgi.input", {}, "wsgi.input must have read()"],
    ["wsgi.input", { read() {} }, "wsgi.input must have readline()"],
    ["wsgi.errors", { write() {} }, "wsgi.errors must have writelines()"],
  ];
  for (const [key, value, complaint] of cases) {
    const message = environRefusal((environ) => {
      environ[key] = value;
    });
    assertStringIncludes(message, complaint);
  }
});

test("lint() lets an extension's value be anything", async () => {
  const environ = environOf();
  environ["myapp.user"] = { name: "x" };
  await lint(good)(environ, startResponse);
});

// startResponse

test("lint() counts the arguments of startResponse", async () => {
  assertStringIncludes(await startRefusal("200 OK"), "two or three arguments");
  assertStringIncludes(
    await startRefusal("200 OK", plain, null, 1),
    "two or three arguments",
  );
});

test("lint() refuses what startResponse refuses", async () => {
  assertStringIncludes(await startRefusal("200", plain), "The status must be");
  assertStringIncludes(await startRefusal(200, plain), "The status must be");
  assertStringIncludes(await startRefusal("200 OK", {}), "an array of");
  assertStringIncludes(await startRefusal("200 OK", [["A"]]), "pair");
  assertStringIncludes(await startRefusal("200 OK", [["A b", "c"]]), "token");
  assertStringIncludes(await startRefusal("200 OK", [["A", "\n"]]), "control");
  assertStringIncludes(
    await startRefusal("200 OK", [["TE", "a"]]),
    "hop-by-hop",
  );
});

test("lint() refuses the Status header and names that end in - or _", async () => {
  assertStringIncludes(
    await startRefusal("200 OK", [...plain, ["Status", "404"]]),
    "The status is no header",
  );
  for (const name of ["X-", "X_"]) {
    assertStringIncludes(
      await startRefusal("200 OK", [...plain, [name, "a"]]),
      "must not end in",
    );
  }
});

test("lint() wants a Content-Type, but not on 204 and 304", async () => {
  assertStringIncludes(
    await startRefusal("200 OK", []),
    "must have a Content-Type",
  );
  assertStringIncludes(await startRefusal("404 Not Found", []), "must have");
  for (const status of ["204 No Content", "304 Not Modified"]) {
    assertStringIncludes(
      await startRefusal(status, plain),
      "so no Content-Type",
    );
    await lint((_environ, startResponse) => {
      startResponse(status, []);
      return [];
    })(environOf(), startResponse);
  }
});

test("lint() wants excInfo at the second call, and hands it on", async () => {
  const again =
    (...excInfo: unknown[]): Application => (_environ, startResponse) => {
      startResponse("200 OK", plain);
      startResponse("500 Oops", plain, ...excInfo as [unknown]);
      return [];
    };
  assertStringIncludes(await refusal(again()), "without excInfo");
  assertStringIncludes(await refusal(again(null)), "without excInfo");
  const seen: unknown[] = [];
  await lint(again("caught"))(environOf(), (_status, _headers, excInfo) => {
    seen.push(excInfo);
    return () => Promise.resolve();
  });
  assertEquals(seen, [undefined, "caught"]);
});

test("lint() wants bytes in write(), and one argument", async () => {
  const writing =
    (...args: unknown[]): Application => async (_environ, startResponse) => {
      const write = startResponse("200 OK", plain);
      await (write as (...args: unknown[]) => Promise<void>)(...args);
      return [];
    };
  assertStringIncludes(await refusal(writing("text")), "not a string");
  assertStringIncludes(await refusal(writing()), "one argument");
  assertStringIncludes(await refusal(writing(bytes("a"), 1)), "one argument");
  written.length = 0;
  await lint(writing(bytes("a")))(environOf(), startResponse);
  assertEquals(written, ["a"]);
});

test("lint() wants write() of the server", () => {
  assertThrows(
    () => lint(good)(environOf(), (() => {}) as unknown as StartResponse),
    ApplicationError,
    "must return write()",
  );
});

// The body

test("lint() refuses what is no body", async () => {
  for (const body of [undefined, null, "text", bytes("x"), {}, 1]) {
    const message = await refusal(
      (_environ: Environ, startResponse: StartResponse) => {
        startResponse("200 OK", plain);
        return body;
      },
    );
    assertStringIncludes(message, "must return an iterable of Uint8Array");
  }
});

test("lint() refuses blocks that are not bytes", async () => {
  const bodies = [
    () => ["text"],
    function* () {
      yield "text";
    },
    async function* () {
      yield "text";
    },
  ];
  for (const body of bodies) {
    const message = await refusal(
      (_environ: Environ, startResponse: StartResponse) => {
        startResponse("200 OK", plain);
        return body();
      },
    );
    assertEquals(message, "A body must give Uint8Array, not a string");
  }
});

test("lint() wants startResponse before the first block, or the end", async () => {
  const apps = [
    () => [bytes("x")],
    () => [],
    function* () {
      yield bytes("");
    },
    function* () {},
    async function* () {
      yield bytes("x");
    },
  ];
  for (const app of apps) {
    assertStringIncludes(await refusal(app), "without calling startResponse");
  }
});

test("lint() lets generators start their response in the first step", async () => {
  const apps: Application[] = [
    function* (_environ, startResponse) {
      startResponse("200 OK", plain);
      yield bytes("a");
    },
    async function* (_environ, startResponse) {
      startResponse("200 OK", plain);
      yield bytes("a");
    },
  ];
  for (const app of apps) {
    const blocks = [];
    const body = await lint(app)(environOf(), startResponse);
    for await (const block of body) blocks.push(text(block));
    assertEquals(blocks, ["a"]);
  }
});

test("lint() refuses a server that iterates or closes a body wrongly", async () => {
  let closed = 0;
  const sync = () => ({
    *[Symbol.iterator]() {
      yield bytes("a");
    },
    close() {
      closed++;
    },
  });
  const async = () => ({
    async *[Symbol.asyncIterator]() {
      yield bytes("a");
    },
    async close() {
      await Promise.resolve();
      closed++;
    },
  });
  for (const make of [sync, async]) {
    closed = 0;
    const app: Application = (_environ, startResponse) => {
      startResponse("200 OK", plain);
      return make() as ResponseBody;
    };
    const body = await lint(app)(environOf(), startResponse);
    const iterate = () =>
      Symbol.asyncIterator in body
        ? body[Symbol.asyncIterator]()
        : body[Symbol.iterator]();
    const iterator = iterate();
    assertEquals((await iterator.next()).value.length, 1);
    assertThrows(iterate, ApplicationError, "iterated once");
    await body.close!();
    assertEquals(closed, 1);
    assertThrows(
      () => body.close!(),
      ApplicationError,
      "close() was called twice",
    );
    await assertRejects(
      async () => await iterator.next(),
      ApplicationError,
      "after close()",
    );
    assertEquals(closed, 1);
  }
});

test("lint() passes return() on to a generator", async () => {
  const seen: string[] = [];
  const apps: Application[] = [
    function* (_environ, startResponse) {
      try {
        startResponse("200 OK", plain);
        yield bytes("a");
      } finally {
        seen.push("sync");
      }
    },
    async function* (_environ, startResponse) {
      try {
        startResponse("200 OK", plain);
        yield bytes("a");
      } finally {
        await Promise.resolve();
        seen.push("async");
      }
    },
  ];
  for (const app of apps) {
    const body = await lint(app)(environOf(), startResponse);
    for await (const _block of body) break;
  }
  assertEquals(seen, ["sync", "async"]);
});

test("lint() leaves a file wrapper what it is", async () => {
  const wrapper = new FileWrapper({ read: () => bytes("") });
  const body = await lint((_environ, startResponse) => {
    startResponse("200 OK", plain);
    return wrapper;
  })(environOf(), startResponse);
  assertStrictEquals(body, wrapper);
});

// The streams

/** Runs `use` on the streams that an application gets under lint. */
function streams(
  use: (input: InputStream, errors: ErrorStream) => void | Promise<void>,
  change: (environ: Environ) => void = () => {},
): Promise<ResponseBody> {
  const environ = environOf({ content: ["one\ntw", "o\nthree"] });
  change(environ);
  return Promise.resolve(
    lint(async (environ, startResponse) => {
      await use(environ["wsgi.input"], environ["wsgi.errors"]);
      return good(environ, startResponse);
    })(environ, startResponse),
  );
}

test("lint() lets the input be read in every way", async () => {
  await streams(async (input) => {
    assertEquals(text(await input.read(1)), "o");
    assertEquals(text(await input.readline()), "ne\n");
    assertEquals(text(await input.readline(2)), "tw");
    for await (const line of input) {
      assertEquals(text(line), "o\n");
      break;
    }
    assertEquals((await input.readlines(1)).map(text), ["three"]);
    assertEquals((await input.read1(1)).length, 0);
    assertEquals((await input.read()).length, 0);
  });
});

test("lint() counts and checks the arguments of reads", async () => {
  const methods = ["read", "read1", "readline", "readlines"] as const;
  for (const method of methods) {
    for (const args of [["1"], [1, 2], [1.5], [null]]) {
      await streams(async (input) => {
        await assertRejects(
          () =>
            (input[method] as (...args: unknown[]) => Promise<unknown>)(
              ...args,
            ),
          ApplicationError,
          method,
        );
      });
    }
  }
});

test("lint() wants a size for read() where the input has no end", async () => {
  await streams(
    async (input) => {
      await assertRejects(() => input.read(), ApplicationError, "takes a size");
      assertEquals(text(await input.read(3)), "one");
    },
    (environ) => void Reflect.deleteProperty(environ, "wsgi.input_terminated"),
  );
});

test("lint() refuses an input that gives no bytes", async () => {
  const wrong = {
    read: () => Promise.resolve("text"),
    read1: () => Promise.resolve("text"),
    readline: () => Promise.resolve("text"),
    readlines: () => Promise.resolve(["text"]),
    async *[Symbol.asyncIterator]() {
      yield "text";
    },
  };
  await streams(async (input) => {
    await assertRejects(() => input.read(1), ApplicationError, "Uint8Array");
    await assertRejects(() => input.read1(1), ApplicationError, "Uint8Array");
    await assertRejects(() => input.readline(), ApplicationError, "Uint8Array");
    await assertRejects(
      () => input.readlines(),
      ApplicationError,
      "Uint8Array",
    );
    await assertRejects(
      async () => {
        for await (const _line of input) { /* the first is refused */ }
      },
      ApplicationError,
      "Uint8Array",
    );
  }, (environ) => {
    environ["wsgi.input"] = wrong as unknown as InputStream;
  });
});

test("lint() refuses close() of the input and of the errors", async () => {
  await streams((input, errors) => {
    for (const stream of [input, errors]) {
      assertThrows(
        () => (stream as unknown as { close(): void }).close(),
        ApplicationError,
        "the server's to close",
      );
    }
  });
});

test("lint() wants strings in wsgi.errors, and passes them on", async () => {
  const lines: unknown[] = [];
  await streams((_input, errors) => {
    const loose = errors as unknown as Record<
      string,
      (...args: unknown[]) => void
    >;
    assertThrows(() => loose.write!(1), ApplicationError, "a string");
    assertThrows(() => loose.write!(), ApplicationError, "one argument");
    assertThrows(() => loose.writelines!([1]), ApplicationError, "a string");
    assertThrows(() => loose.flush!(1), ApplicationError, "no argument");
    errors.write("a\n");
    errors.writelines(["b\n", "c\n"]);
    errors.flush();
  }, (environ) => {
    environ["wsgi.errors"] = {
      ...silentErrors,
      write: (line) => void lines.push(line),
    };
  });
  assertEquals(lines, ["a\n", "b\n", "c\n"]);
});
