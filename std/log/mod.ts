/**
 * `@std/log` for machines that cannot reach JSR: our own implementation of
 * the part of its interface that Headgate uses, true to its behaviour. What is
 * left out (file handlers, JSON formatter, module-level `debug()` and so on)
 * is left out so that whatever compiles here compiles with the real package.
 *
 * @module
 */

/** The numeric level of each level name. */
export const LogLevels = {
  NOTSET: 0,
  DEBUG: 10,
  INFO: 20,
  WARN: 30,
  ERROR: 40,
  CRITICAL: 50,
} as const;

/** "DEBUG", "INFO" and so on. */
export type LevelName = keyof typeof LogLevels;

/** The numbers that the level names stand for. */
export type LogLevel = typeof LogLevels[LevelName];

/** Every level name, from the lowest to the highest. */
export const LogLevelNames: LevelName[] = Object.keys(LogLevels) as LevelName[];

/** The number of a level name; throws on a name that is none. */
export function getLevelByName(name: LevelName): LogLevel {
  const level = LogLevels[name];
  if (level === undefined) {
    throw new Error(`Cannot get log level: no level named ${name}`);
  }
  return level;
}

/** The name of a level; throws on a number that is none. */
export function getLevelName(level: LogLevel): LevelName {
  const name = LogLevelNames.find((name) => LogLevels[name] === level);
  if (name === undefined) {
    throw new Error(`Cannot get log level: no name for level: ${level}`);
  }
  return name;
}

/** What a `LogRecord` is made from. */
export interface LogRecordOptions {
  /** The message, already text. */
  msg: string;
  /** What was given beside the message. */
  args: unknown[];
  /** How grave it is. */
  level: LogLevel;
  /** Which logger it was given to. */
  loggerName: string;
}

/** One message on its way from a logger to its handlers. Immutable. */
export class LogRecord {
  /** The message as text. */
  readonly msg: string;
  /** How grave it is. */
  readonly level: LogLevel;
  /** The name of `level`. */
  readonly levelName: LevelName;
  /** Which logger it was given to. */
  readonly loggerName: string;
  readonly #args: unknown[];
  readonly #datetime: Date;

  /** Stamps the record with the present time. */
  constructor(options: LogRecordOptions) {
    this.msg = options.msg;
    this.level = options.level;
    this.levelName = getLevelName(options.level);
    this.loggerName = options.loggerName;
    this.#args = [...options.args];
    this.#datetime = new Date();
  }

  /** A copy of what was given beside the message. */
  get args(): unknown[] {
    return [...this.#args];
  }

  /** A copy of the time when the record was made. */
  get datetime(): Date {
    return new Date(this.#datetime.getTime());
  }
}

/** Makes the text of a record. */
export type FormatterFunction = (logRecord: LogRecord) => string;

/** What every handler can be told. */
export interface BaseHandlerOptions {
  /** Makes the text; default `LEVEL message`. */
  formatter?: FormatterFunction;
}

/** Takes the records at or above its level, formats them and logs the text. */
export abstract class BaseHandler {
  /** Makes the text of a record. */
  formatter: FormatterFunction;
  #level: LogLevel;

  /** A handler that takes records at `levelName` and above. */
  constructor(levelName: LevelName, options: BaseHandlerOptions = {}) {
    this.#level = getLevelByName(levelName);
    this.formatter = options.formatter ??
      (({ levelName, msg }) => `${levelName} ${msg}`);
  }

  /** The lowest level that is taken. */
  get level(): LogLevel {
    return this.#level;
  }

  set level(level: LogLevel) {
    getLevelName(level);
    this.#level = level;
  }

  /** The name of the lowest level that is taken. */
  get levelName(): LevelName {
    return getLevelName(this.#level);
  }

  set levelName(levelName: LevelName) {
    this.#level = getLevelByName(levelName);
  }

  /** Formats and logs the record, unless it is below the handler's level. */
  handle(logRecord: LogRecord): void {
    if (this.#level > logRecord.level) return;
    this.log(this.format(logRecord));
  }

  /** The text of a record. */
  format(logRecord: LogRecord): string {
    return this.formatter(logRecord);
  }

  /** Puts the text where it belongs. */
  abstract log(msg: string): void;

  /** Called by `setup()` before the handler is used. */
  setup(): void {}

  /** Called by the next `setup()`, when the handler is no longer used. */
  destroy(): void {}
}

/** What a `ConsoleHandler` can be told. */
export interface ConsoleHandlerOptions extends BaseHandlerOptions {
  /** Colour the text by its level; default true. */
  useColors?: boolean;
}

/** Logs to the console. */
export class ConsoleHandler extends BaseHandler {
  readonly #useColors: boolean;

  /** A handler that takes records at `levelName` and above. */
  constructor(levelName: LevelName, options: ConsoleHandlerOptions = {}) {
    super(levelName, options);
    this.#useColors = options.useColors ?? true;
  }

  /** The text of a record, coloured by its level if so configured. */
  override format(logRecord: LogRecord): string {
    const text = super.format(logRecord);
    return this.#useColors ? coloured(text, logRecord.level) : text;
  }

  /** Hands the text to `console.log()`. */
  override log(msg: string): void {
    console.log(msg);
  }
}

function coloured(text: string, level: LogLevel): string {
  switch (level) {
    case LogLevels.INFO:
      return `\x1b[34m${text}\x1b[39m`;
    case LogLevels.WARN:
      return `\x1b[33m${text}\x1b[39m`;
    case LogLevels.ERROR:
      return `\x1b[31m${text}\x1b[39m`;
    case LogLevels.CRITICAL:
      return `\x1b[1m\x1b[31m${text}\x1b[39m\x1b[22m`;
    default:
      return text;
  }
}

/** What a `Logger` can be told. */
export interface LoggerOptions {
  /** Where its records go. */
  handlers?: BaseHandler[];
}

/** A function, which as a message is called for what it returns. */
// deno-lint-ignore no-explicit-any
export type GenericFunction = (...args: any[]) => unknown;

/** Makes records of what it is given and hands them to its handlers. Each
 * method returns its message; a function as message is called only when the
 * level is enabled, and its result is the message. */
export class Logger {
  /** Where the records go. */
  handlers: BaseHandler[];
  readonly #loggerName: string;
  #level: LogLevel;

  /** A logger that lets records at `levelName` and above through. */
  constructor(
    loggerName: string,
    levelName: LevelName,
    options: LoggerOptions = {},
  ) {
    this.#loggerName = loggerName;
    this.#level = getLevelByName(levelName);
    this.handlers = options.handlers ?? [];
  }

  /** The lowest level that is let through. */
  get level(): LogLevel {
    return this.#level;
  }

  set level(level: LogLevel) {
    getLevelName(level);
    this.#level = level;
  }

  /** The name of the lowest level that is let through. */
  get levelName(): LevelName {
    return getLevelName(this.#level);
  }

  set levelName(levelName: LevelName) {
    this.#level = getLevelByName(levelName);
  }

  /** The name that the logger was made with. */
  get loggerName(): string {
    return this.#loggerName;
  }

  /** Logs what the function returns at DEBUG. */
  debug<T>(msg: () => T, ...args: unknown[]): T | undefined;
  /** Logs at DEBUG. */
  debug<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  debug(msg: unknown, ...args: unknown[]): unknown {
    return this.#log(LogLevels.DEBUG, msg, args);
  }

  /** Logs what the function returns at INFO. */
  info<T>(msg: () => T, ...args: unknown[]): T | undefined;
  /** Logs at INFO. */
  info<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  info(msg: unknown, ...args: unknown[]): unknown {
    return this.#log(LogLevels.INFO, msg, args);
  }

  /** Logs what the function returns at WARN. */
  warn<T>(msg: () => T, ...args: unknown[]): T | undefined;
  /** Logs at WARN. */
  warn<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  warn(msg: unknown, ...args: unknown[]): unknown {
    return this.#log(LogLevels.WARN, msg, args);
  }

  /** Logs what the function returns at ERROR. */
  error<T>(msg: () => T, ...args: unknown[]): T | undefined;
  /** Logs at ERROR. */
  error<T>(msg: T extends GenericFunction ? never : T, ...args: unknown[]): T;
  error(msg: unknown, ...args: unknown[]): unknown {
    return this.#log(LogLevels.ERROR, msg, args);
  }

  /** Logs what the function returns at CRITICAL. */
  critical<T>(msg: () => T, ...args: unknown[]): T | undefined;
  /** Logs at CRITICAL. */
  critical<T>(
    msg: T extends GenericFunction ? never : T,
    ...args: unknown[]
  ): T;
  critical(msg: unknown, ...args: unknown[]): unknown {
    return this.#log(LogLevels.CRITICAL, msg, args);
  }

  #log(level: LogLevel, msg: unknown, args: unknown[]): unknown {
    const lazy = typeof msg === "function";
    if (this.#level > level) return lazy ? undefined : msg;
    const value = lazy ? msg() : msg;
    const record = new LogRecord({
      msg: asText(value, false),
      args,
      level,
      loggerName: this.#loggerName,
    });
    for (const handler of this.handlers) handler.handle(record);
    return value;
  }
}

function asText(value: unknown, quoted: boolean): string {
  if (typeof value === "string") return quoted ? `"${value}"` : value;
  if (value instanceof Error) return value.stack ?? String(value);
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value)
      .map(([key, member]) => `"${key}":${asText(member, true)}`);
    return `{${members.join(",")}}`;
  }
  return typeof value === "function" ? "undefined" : String(value);
}

/** How one logger is to be set up. */
export interface LoggerConfig {
  /** The lowest level that is let through; default INFO. */
  level?: LevelName;
  /** The names of its handlers. */
  handlers?: string[];
}

/** What `setup()` sets up. */
export interface LogConfig {
  /** Handlers by name. */
  handlers?: { [name: string]: BaseHandler };
  /** Loggers by name. */
  loggers?: { [name: string]: LoggerConfig };
}

const defaultConfig = {
  handlers: { default: new ConsoleHandler("INFO") },
  loggers: { default: { level: "INFO", handlers: ["default"] } },
} satisfies LogConfig;

const handlers = new Map<string, BaseHandler>();
const loggers = new Map<string, Logger>();

/** Replaces every handler and logger; those named `default` stay unless the
 * configuration names them too. */
export function setup(config: LogConfig): void {
  for (const handler of handlers.values()) handler.destroy();
  handlers.clear();
  loggers.clear();
  const byName = { ...defaultConfig.handlers, ...config.handlers };
  for (const [name, handler] of Object.entries<BaseHandler>(byName)) {
    handler.setup();
    handlers.set(name, handler);
  }
  const configs = { ...defaultConfig.loggers, ...config.loggers };
  for (const [name, settings] of Object.entries<LoggerConfig>(configs)) {
    const own = (settings.handlers ?? [])
      .map((handlerName) => handlers.get(handlerName))
      .filter((handler) => handler !== undefined);
    const logger = new Logger(name, settings.level ?? "INFO", {
      handlers: own,
    });
    loggers.set(name, logger);
  }
}

/** The logger of that name, made without handlers if there is none; without a
 * name, the one named `default`. */
export function getLogger(name?: string): Logger {
  const found = loggers.get(name || "default");
  if (found !== undefined) return found;
  if (!name) throw new Error('"default" logger must be set');
  const logger = new Logger(name, "INFO");
  loggers.set(name, logger);
  return logger;
}

setup(defaultConfig);
