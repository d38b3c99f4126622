/**
 * PEP 3333 as middleware: `lint(app)` behaves as `app` does, and throws
 * `ApplicationError` where the server or the application breaks the contract.
 * The checks are those of CPython's `wsgiref.validate`, carried into a language
 * whose reads and bodies may be asynchronous; beyond them, everything that
 * `startResponse` refuses here is refused under lint too.
 *
 * What differs: `read()` may go without a size where `wsgi.input_terminated`
 * holds. An array stays the array that it is, and a `wsgi.file_wrapper` too, so
 * that they are served as they would be without lint. A body that nobody closed
 * is told to `wsgi.errors` when it is collected, which may be never: JavaScript
 * has no other moment for that; a body that is closed twice, or iterated after
 * it was closed, is refused at once.
 *
 * Length: the rules of one specification, each a few lines, in its order.
 */
import { ApplicationError } from "../errors.ts";
import type {
  Application,
  Environ,
  ErrorStream,
  InputStream,
  ResponseBody,
  ResponseHeaders,
  Write,
} from "../wsgi.ts";
import {
  checkBlock,
  checkBody,
  checkHeaders,
  describe,
  parseStatus,
  quote,
} from "./contract.ts";
import { FileWrapper } from "./file_wrapper.ts";

/** Wraps `app` so that whatever breaks PEP 3333 is told. */
export function lint(app: Application): Application {
  // Two parameters, as whoever looks at an application expects it to have.
  return (environ, startResponse, ...more: unknown[]) => {
    demand(
      startResponse !== undefined && more.length === 0,
      "An application is called with two arguments",
    );
    checkEnviron(environ);
    demand(
      typeof startResponse === "function",
      `startResponse must be a function, not ${describe(startResponse)}`,
    );
    const errors = environ["wsgi.errors"];
    environ["wsgi.input"] = new LintedInput(
      environ["wsgi.input"],
      environ["wsgi.input_terminated"] === true,
    );
    environ["wsgi.errors"] = new LintedErrors(errors);

    const rules = new BodyRules(errors);
    const result = app(environ, (...args: unknown[]) => {
      const [status, headers, excInfo] = args as Parameters<
        typeof startResponse
      >;
      checkStartResponse(args, rules.started);
      const write = args.length === 2
        ? startResponse(status, headers)
        : startResponse(status, headers, excInfo);
      rules.started = true;
      return lintedWrite(write);
    });
    return result instanceof Promise
      ? result.then((body) => lintedBody(body, rules))
      : lintedBody(result, rules);
  };
}

function demand(claim: boolean, complaint: string): asserts claim {
  if (!claim) throw new ApplicationError(complaint);
}

const requiredKeys = [
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

function checkEnviron(environ: Environ): void {
  demand(
    isPlainObject(environ),
    `The environ must be a plain object, not ${describe(environ)}`,
  );
  for (const key of requiredKeys) {
    demand(key in environ, `The environ must hold ${key}`);
  }
  for (const key of ["CONTENT_TYPE", "CONTENT_LENGTH"]) {
    demand(
      !(`HTTP_${key}` in environ),
      `The environ must not hold HTTP_${key}, but ${key}`,
    );
  }
  checkVariables(environ);
  checkPaths(environ);
  checkWsgiKeys(environ);
}

function isPlainObject(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A key with a dot belongs to an extension, whose value may be anything. */
function checkVariables(environ: Environ): void {
  for (const [key, value] of Object.entries(environ)) {
    if (key.includes(".")) continue;
    demand(
      typeof value === "string",
      `${key} must be a string, not ${describe(value)}`,
    );
    demand(
      !/[\u0100-\uffff]/.test(value),
      `${key} must hold no character above U+00FF, not ${quote(value)}`,
    );
  }
  for (const key of ["REQUEST_METHOD", "SERVER_NAME", "SERVER_PORT"]) {
    demand(environ[key] !== "", `${key} must not be empty`);
  }
  for (const key of ["SERVER_PORT", "CONTENT_LENGTH"]) {
    const value = environ[key] as string | undefined;
    demand(
      !value || /^[0-9]+$/.test(value),
      `${key} must be a number, not ${quote(value)}`,
    );
  }
}

function checkPaths(environ: Environ): void {
  const { SCRIPT_NAME: scriptName, PATH_INFO: pathInfo } = environ;
  for (const [key, path] of Object.entries({ scriptName, pathInfo })) {
    const name = key === "scriptName" ? "SCRIPT_NAME" : "PATH_INFO";
    demand(
      path === "" || path.startsWith("/"),
      `${name} must start with "/" where it is not empty, not ${quote(path)}`,
    );
  }
  demand(
    scriptName !== "/",
    'SCRIPT_NAME must be "" at the root, where PATH_INFO is "/"',
  );
  // `OPTIONS *` is about no path at all.
  demand(
    scriptName !== "" || pathInfo !== "" ||
      environ.REQUEST_METHOD === "OPTIONS",
    'PATH_INFO must be "/" at least where SCRIPT_NAME is empty',
  );
}

function checkWsgiKeys(environ: Environ): void {
  const version: unknown = environ["wsgi.version"];
  demand(
    Array.isArray(version) && version.length === 2 && version[0] === 1 &&
      version[1] === 0,
    "wsgi.version must be [1, 0]",
  );
  const scheme: unknown = environ["wsgi.url_scheme"];
  demand(
    scheme === "http" || scheme === "https",
    `wsgi.url_scheme must be "http" or "https", not ${quote(scheme)}`,
  );
  for (const key of ["multithread", "multiprocess", "run_once"]) {
    const value = environ[`wsgi.${key}`];
    demand(
      typeof value === "boolean",
      `wsgi.${key} must be a boolean, not ${describe(value)}`,
    );
  }
  checkMethods(environ, "wsgi.input", [
    "read",
    "readline",
    "readlines",
    Symbol.asyncIterator,
  ]);
  checkMethods(environ, "wsgi.errors", ["write", "writelines", "flush"]);
}

function checkMethods(
  environ: Environ,
  key: string,
  methods: readonly (string | symbol)[],
): void {
  const stream = environ[key] as Record<string | symbol, unknown> | undefined;
  for (const method of methods) {
    demand(
      typeof stream?.[method] === "function",
      `${key} must have ${String(method)}()`,
    );
  }
}

function checkStartResponse(args: readonly unknown[], started: boolean): void {
  demand(
    args.length === 2 || args.length === 3,
    `startResponse takes two or three arguments, not ${args.length}`,
  );
  const [status, headers, excInfo] = args;
  demand(
    !started || (excInfo !== undefined && excInfo !== null),
    "startResponse was called again without excInfo",
  );
  const { code } = parseStatus(status);
  checkHeaders(headers);
  checkNames(headers as ResponseHeaders);
  checkContentType(code, headers as ResponseHeaders);
}

function checkNames(headers: ResponseHeaders): void {
  for (const [name, value] of headers) {
    demand(
      name.toLowerCase() !== "status",
      `The status is no header (${quote(value)}): a CGI server would obey it`,
    );
    demand(
      !/[-_]$/.test(name),
      `A header name must not end in "-" or "_": ${quote(name)}`,
    );
  }
}

function checkContentType(code: number, headers: ResponseHeaders): void {
  const present = headers.some(([name]) =>
    name.toLowerCase() === "content-type"
  );
  if (code === 204 || code === 304) {
    demand(!present, `A ${code} response has no content, so no Content-Type`);
  } else {
    demand(present, `A ${code} response must have a Content-Type`);
  }
}

function lintedWrite(write: Write): Write {
  demand(typeof write === "function", "startResponse must return write()");
  return (...args: unknown[]) => {
    demand(args.length === 1, "write() takes one argument");
    return write(checkBlock(args[0]));
  };
}

function lintedBody(result: unknown, rules: BodyRules): ResponseBody {
  const body = checkBody(result);
  if (Array.isArray(body) || body instanceof FileWrapper) {
    rules.checkStarted();
    if (Array.isArray(body)) body.forEach(checkBlock);
    return body;
  }
  return Symbol.asyncIterator in body
    ? new LintedAsyncBody(body, rules)
    : new LintedSyncBody(body, rules);
}

/** What one body must and must not do, and whether its head was given. */
class BodyRules {
  started = false;
  readonly #errors: ErrorStream;
  #iterated = false;
  /** Outlives the body, to tell what has become of it. */
  readonly #fate = { closed: false };

  constructor(errors: ErrorStream) {
    this.#errors = errors;
  }

  checkStarted(): void {
    demand(
      this.started,
      "The application gave its body without calling startResponse",
    );
  }

  /** `body` is what the server holds, and must close. */
  open(body: object): void {
    demand(!this.#iterated, "A body is iterated once");
    this.#iterated = true;
    collected.register(body, { fate: this.#fate, errors: this.#errors });
  }

  beforeStep(): void {
    demand(!this.#fate.closed, "The body was iterated after close()");
  }

  afterStep<Step extends IteratorResult<unknown>>(step: Step): Step {
    if (!step.done) checkBlock(step.value);
    this.checkStarted();
    return step;
  }

  close(): void {
    demand(!this.#fate.closed, "close() was called twice");
    this.#fate.closed = true;
  }
}

/** What is told of a body that is gone. */
interface Remains {
  readonly fate: { readonly closed: boolean };
  readonly errors: ErrorStream;
}

const collected = new FinalizationRegistry<Remains>(({ fate, errors }) => {
  if (!fate.closed) errors.write("A body was collected without close()\n");
});

class LintedSyncBody implements IterableIterator<Uint8Array> {
  readonly #body: Iterable<Uint8Array> & ResponseBody;
  readonly #rules: BodyRules;
  #iterator: Iterator<Uint8Array> | undefined = undefined;

  constructor(body: ResponseBody, rules: BodyRules) {
    this.#body = body as Iterable<Uint8Array> & ResponseBody;
    this.#rules = rules;
  }

  [Symbol.iterator](): this {
    this.#rules.open(this);
    this.#iterator = this.#body[Symbol.iterator]();
    return this;
  }

  next(): IteratorResult<Uint8Array> {
    this.#rules.beforeStep();
    return this.#rules.afterStep(this.#iterator!.next());
  }

  return(): IteratorResult<Uint8Array> {
    return this.#iterator?.return?.() ?? { done: true, value: undefined };
  }

  close(): void | Promise<void> {
    this.#rules.close();
    return this.#body.close?.();
  }
}

class LintedAsyncBody implements AsyncIterableIterator<Uint8Array> {
  readonly #body: AsyncIterable<Uint8Array> & ResponseBody;
  readonly #rules: BodyRules;
  #iterator: AsyncIterator<Uint8Array> | undefined = undefined;

  constructor(body: ResponseBody, rules: BodyRules) {
    this.#body = body as AsyncIterable<Uint8Array> & ResponseBody;
    this.#rules = rules;
  }

  [Symbol.asyncIterator](): this {
    this.#rules.open(this);
    this.#iterator = this.#body[Symbol.asyncIterator]();
    return this;
  }

  async next(): Promise<IteratorResult<Uint8Array>> {
    this.#rules.beforeStep();
    return this.#rules.afterStep(await this.#iterator!.next());
  }

  async return(): Promise<IteratorResult<Uint8Array>> {
    return await this.#iterator?.return?.() ?? { done: true, value: undefined };
  }

  close(): void | Promise<void> {
    this.#rules.close();
    return this.#body.close?.();
  }
}

class LintedInput implements InputStream {
  readonly #input: InputStream;
  readonly #terminated: boolean;

  constructor(input: InputStream, terminated: boolean) {
    this.#input = input;
    this.#terminated = terminated;
  }

  async read(...args: number[]): Promise<Uint8Array> {
    checkSize("read", args);
    demand(
      args.length === 1 || this.#terminated,
      "read() takes a size where wsgi.input is not terminated",
    );
    return bytesOf("read", await this.#input.read(...args));
  }

  async read1(...args: number[]): Promise<Uint8Array> {
    checkSize("read1", args);
    return bytesOf("read1", await this.#input.read1(...args));
  }

  async readline(...args: number[]): Promise<Uint8Array> {
    checkSize("readline", args);
    return bytesOf("readline", await this.#input.readline(...args));
  }

  async readlines(...args: number[]): Promise<Uint8Array[]> {
    checkSize("readlines", args);
    const lines = await this.#input.readlines(...args);
    demand(Array.isArray(lines), "wsgi.input readlines() must give an array");
    for (const line of lines) bytesOf("readlines", line);
    return lines;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for await (const line of this.#input) yield bytesOf("iteration", line);
  }

  close(): never {
    throw new ApplicationError("wsgi.input is the server's to close");
  }
}

function checkSize(method: string, args: readonly unknown[]): void {
  demand(args.length <= 1, `${method}() takes one argument at most`);
  const [size] = args;
  demand(
    size === undefined || Number.isInteger(size),
    `${method}() takes a whole number of bytes, not ${describe(size)}`,
  );
}

function bytesOf(method: string, value: unknown): Uint8Array {
  demand(
    value instanceof Uint8Array,
    `wsgi.input ${method} must give Uint8Array, not ${describe(value)}`,
  );
  return value;
}

class LintedErrors implements ErrorStream {
  readonly #errors: ErrorStream;

  constructor(errors: ErrorStream) {
    this.#errors = errors;
  }

  write(...args: unknown[]): void {
    demand(args.length === 1, "wsgi.errors write() takes one argument");
    const [text] = args;
    demand(
      typeof text === "string",
      `wsgi.errors write() takes a string, not ${describe(text)}`,
    );
    this.#errors.write(text);
  }

  writelines(lines: Iterable<string>): void {
    for (const line of lines) this.write(line);
  }

  flush(...args: unknown[]): void {
    demand(args.length === 0, "wsgi.errors flush() takes no argument");
    this.#errors.flush();
  }

  close(): never {
    throw new ApplicationError("wsgi.errors is the server's to close");
  }
}
