/** The part of `@std/log` that Headgate uses, as the real package behaves. */
import {
  BaseHandler,
  ConsoleHandler,
  getLevelByName,
  getLevelName,
  getLogger,
  Logger,
  LogLevels,
  LogRecord,
  setup,
} from "@std/log";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "node:test";

class MemoryHandler extends BaseHandler {
  readonly lines: string[] = [];
  readonly calls: string[] = [];
  override log(msg: string): void {
    this.lines.push(msg);
  }
  override setup(): void {
    this.calls.push("setup");
  }
  override destroy(): void {
    this.calls.push("destroy");
  }
}

test("LogLevels rise, and name and number find each other", () => {
  assert(LogLevels.DEBUG < LogLevels.INFO && LogLevels.INFO < LogLevels.WARN);
  assertEquals(getLevelByName("ERROR"), LogLevels.ERROR);
  assertEquals(getLevelName(LogLevels.CRITICAL), "CRITICAL");
  assertThrows(() => getLevelByName("LOUD" as "DEBUG"), Error, "LOUD");
});

test("BaseHandler drops records below its level", () => {
  const handler = new MemoryHandler("WARN");
  const log = new Logger("x", "DEBUG", { handlers: [handler] });
  log.info("no");
  log.warn("yes");
  handler.levelName = "DEBUG";
  log.debug("now");
  assertEquals(handler.lines, ["WARN yes", "DEBUG now"]);
});

test("Logger returns its message, whether it logs it or not", () => {
  const handler = new MemoryHandler("DEBUG");
  const log = new Logger("x", "ERROR", { handlers: [handler] });
  assertEquals(log.debug("quiet"), "quiet");
  assertEquals(log.error(42), 42);
  assertEquals(handler.lines, ["ERROR 42"]);
});

test("Logger calls a lazy message only when its level is enabled", () => {
  const handler = new MemoryHandler("DEBUG");
  const log = new Logger("x", "ERROR", { handlers: [handler] });
  let calls = 0;
  const lazy = () => `call ${++calls}`;
  assertEquals(log.debug(lazy), undefined);
  assertEquals(log.critical(lazy), "call 1");
  assertEquals(handler.lines, ["CRITICAL call 1"]);
});

test("Logger spells an Error as its stack and an object as its members", () => {
  const handler = new MemoryHandler("DEBUG");
  const log = new Logger("x", "DEBUG", { handlers: [handler] });
  const error = new Error("boom");
  log.error(error);
  log.error({ a: 1, b: "two", c: null });
  assertEquals(handler.lines, [
    `ERROR ${error.stack}`,
    'ERROR {"a":1,"b":"two","c":null}',
  ]);
});

test("formatter receives the record", () => {
  let seen: LogRecord | undefined;
  const handler = new MemoryHandler("DEBUG", {
    formatter: (record) => {
      seen = record;
      return `<${record.msg}>`;
    },
  });
  new Logger("mine", "DEBUG", { handlers: [handler] }).info("m", 1, "two");
  assertEquals(handler.lines, ["<m>"]);
  assert(seen !== undefined);
  assertEquals(seen.loggerName, "mine");
  assertEquals(seen.levelName, "INFO");
  assertEquals(seen.args, [1, "two"]);
});

test("LogRecord hands out copies", () => {
  const record = new LogRecord({
    msg: "m",
    args: [1],
    level: LogLevels.INFO,
    loggerName: "x",
  });
  record.args.push(2);
  record.datetime.setTime(0);
  assertEquals(record.args, [1]);
  assert(record.datetime.getTime() > 0);
});

test("ConsoleHandler colours by level unless told not to", () => {
  const record = new LogRecord({
    msg: "m",
    args: [],
    level: LogLevels.ERROR,
    loggerName: "x",
  });
  assertEquals(
    new ConsoleHandler("DEBUG").format(record),
    "\x1b[31mERROR m\x1b[39m",
  );
  assertEquals(
    new ConsoleHandler("DEBUG", { useColors: false }).format(record),
    "ERROR m",
  );
});

test("setup() sets handlers up, and the next one destroys them", () => {
  const handler = new MemoryHandler("DEBUG");
  setup({
    handlers: { memory: handler },
    loggers: { mine: { level: "DEBUG", handlers: ["memory", "absent"] } },
  });
  getLogger("mine").debug("hello");
  getLogger("other").critical("nowhere");
  setup({});
  assertEquals(handler.lines, ["DEBUG hello"]);
  assertEquals(handler.calls, ["setup", "destroy"]);
  assertEquals(getLogger().loggerName, "default");
  assertEquals(getLogger("other"), getLogger("other"));
});
