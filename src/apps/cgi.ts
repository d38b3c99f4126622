/**
 * CGI (RFC 3875): the executables of a directory, each started for the request
 * that names it.
 *
 * ```ts ignore
 * const run = cgi("cgi-bin", { host: await host.backends(), prefix: "/cgi-bin" });
 * serveHandler(transport, mount({ "/": { wsgi: shop }, "/cgi-bin": { handler: run } }));
 * ```
 *
 * A program has its request in its environment and on its standard input, and in
 * no other way: its command line is always empty, also where a query without "="
 * could be put there (§4.4), as that lets a stranger choose what a program is
 * started with. Of our own environment it has what it is given. The credentials
 * in `Authorization` stay here (§4.1.18), unless they are asked for: what is in
 * an environment may be seen by others.
 *
 * Content without a length is read ahead, since CGI has no other way to tell its
 * end; so is short content. Values that are UTF-8 are handed on as they are;
 * others, which no runtime can put in an environment, as the UTF-8 of their
 * ISO 8859-1 characters.
 *
 * Programs that write their own status line (§5, "nph-") are not supported. On
 * Node and Bun their standard streams are sockets, which Linux does not open by
 * name: a script writes to `>&2` there, not to `/dev/stderr`.
 *
 * @module
 */
import type { BackendHost } from "../backend_host.ts";
import type { Exchange, Handler } from "../exchange.ts";
import { escapeForLog, type Logger } from "../logger.ts";
import { eachMetaVariable } from "../meta_variables.ts";
import type { MaybePromise } from "../stream.ts";
import { version } from "../version.ts";
import { answer, redirectBelow, refusalOf } from "./answers.ts";
import { answerFailure } from "./backend_failure.ts";
import { startCgiProgram } from "./cgi_program.ts";
import { Dialogue } from "./dialogue.ts";
import { hasPrefix, pathPrefix } from "./file_path.ts";
import type { Mount } from "./files.ts";
import {
  type HeldContent,
  holdContent,
  type HoldMode,
} from "./held_content.ts";
import { redirectLocally } from "./local_redirect.ts";
import { type Script, type ScriptMatch, Scripts } from "./scripts.ts";
import { Turns } from "./turns.ts";

/** How the programs of a directory are run. */
export interface CgiOptions {
  /** What starts them. */
  readonly host: BackendHost;
  /** What their paths begin with in a URL, as it stands there: "/cgi-bin";
   * default "/". */
  readonly prefix?: string;
  /** The programs that stand for the directory that they are in, the preferred
   * one first; default none. */
  readonly index?: readonly string[];
  /** What each has in its environment beside the request; default a `PATH` of
   * the system's directories. See {@linkcode cgiEnvironment}. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Whether `Authorization` is handed on; default false. */
  readonly passAuthorization?: boolean;
  /** How many programs run at a time; default 16. */
  readonly atOnce?: number;
  /** How many requests may wait for one of them to end; default 1024. More are
   * answered with 503. */
  readonly waiting?: number;
  /** How long each may wait; then 503. Default 30. */
  readonly queueSeconds?: number;
  /** How long a program may neither send nor take anything that is waited for,
   * and how long it may run on after its response; then it is ended, and 504.
   * Default 30. */
  readonly timeoutSeconds?: number;
  /** Which content is read before a program is started; default "chunked". With
   * "off", chunked content is refused with 411. */
  readonly spool?: HoldMode;
  /** Who answers where a program sends its client on to a path of this site
   * (§6.2.2); default the same programs. */
  readonly site?: Handler;
  /** `SERVER_SOFTWARE`; default "headgate/" and the version. */
  readonly software?: string;
  /** Where it is told what fails, and what programs write to their standard
   * error; default `console`. */
  readonly log?: Logger;
}

/** Makes a handler of the executables of a directory. */
export function cgi(directory: string, options: CgiOptions): Handler {
  const programs = new Programs(directory, options, turnsOf(options));
  const handler: Handler = (exchange) =>
    programs.handle(exchange, options.site ?? handler);
  return handler;
}

/** Makes a handler that runs the executables of directories, the longest prefix
 * first, and asks `application` for the rest. A directory answers for everything
 * below its prefix. Together they run no more than `atOnce` programs. */
export function cgiBefore(
  mounts: readonly Mount[],
  application: Handler,
  options: Omit<CgiOptions, "prefix">,
): Handler {
  const turns = turnsOf(options);
  const places = mounts.map(({ prefix, directory }) => ({
    base: pathPrefix(prefix),
    programs: new Programs(directory, { ...options, prefix }, turns),
  })).sort((a, b) => b.base.length - a.base.length);
  const handler: Handler = (exchange) => {
    const { path } = exchange.head;
    for (const { base, programs } of places) {
      if (!hasPrefix(base, path)) continue;
      return programs.handle(exchange, options.site ?? handler);
    }
    return application(exchange);
  };
  return handler;
}

/** Of an environment, what programs may need to run at all: where others are,
 * how people here write and what time it is. */
export function cgiEnvironment(
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> {
  const passed: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (value !== undefined && ofTheSystem.test(name)) passed[name] = value;
  }
  return passed;
}

const ofTheSystem = /^(PATH|LANG|LC_[A-Z]+|TZ|TMPDIR|SYSTEMROOT)$/i;

const defaultEnvironment: Readonly<Record<string, string>> = {
  PATH: "/usr/local/bin:/usr/bin:/bin",
};

function turnsOf(
  { atOnce = 16, waiting = 1024, queueSeconds = 30 }: Omit<
    CgiOptions,
    "prefix"
  >,
): Turns {
  return new Turns({ atOnce, waiting, seconds: queueSeconds });
}

class Programs {
  readonly #scripts: Scripts;
  readonly #options: CgiOptions;
  readonly #turns: Turns;
  readonly #log: Logger;

  constructor(directory: string, options: CgiOptions, turns: Turns) {
    const { host, prefix = "/", index = [], log = console } = options;
    this.#scripts = new Scripts({
      files: host.files,
      directory,
      prefix,
      index,
      isScript: (file) => host.isExecutable(file),
    });
    this.#options = options;
    this.#turns = turns;
    this.#log = log;
  }

  /** `site` answers local redirects. */
  async handle(exchange: Exchange, site: Handler): Promise<void> {
    let location: string | undefined;
    try {
      const found = await this.#find(exchange);
      location = found.kind === "script"
        ? await this.#serve(exchange, found)
        : await this.#miss(exchange, found);
      if (location === undefined) return;
      await redirectLocally(exchange, location, site);
    } catch (error) {
      await answerFailure(exchange, error, this.#log);
    }
  }

  async #find({ head }: Exchange): Promise<ScriptMatch | Refusal> {
    try {
      return await this.#scripts.find(head.path);
    } catch (error) {
      const status = refusalOf(error);
      if (status === undefined) throw error;
      return { kind: "refused", status };
    }
  }

  async #miss(
    exchange: Exchange,
    found: Exclude<ScriptMatch | Refusal, Script>,
  ): Promise<undefined> {
    const { head, response } = exchange;
    switch (found.kind) {
      case "refused":
        await answer(response, found.status);
        return;
      case "slash":
        await redirectBelow(exchange);
        return;
      case "file":
        this.#log.warn(
          `${escapeForLog(head.path)} names a file that may not be executed`,
        );
        await answer(response, 403);
        return;
      default:
        await answer(response, 404);
    }
  }

  /** Resolves with the target of a local redirect. */
  async #serve(
    exchange: Exchange,
    script: Script,
  ): Promise<string | undefined> {
    const { host, spool = "chunked" } = this.#options;
    const pending = holdContent(exchange, { host, spool });
    const content = pending instanceof Promise ? await pending : pending;
    try {
      if (content.length !== undefined) {
        return await this.#run(exchange, script, content);
      }
      await answer(exchange.response, 411);
    } finally {
      content.close();
    }
  }

  async #run(
    exchange: Exchange,
    script: Script,
    content: HeldContent,
  ): Promise<string | undefined> {
    const { host, timeoutSeconds: seconds = 30 } = this.#options;
    const command = {
      file: script.file,
      cwd: script.file.slice(0, script.file.lastIndexOf("/")) || "/",
      env: this.#environment(exchange, script, content),
    };
    // Nothing may fail between this and what gives the turn back.
    const turn: MaybePromise<void> = this.#turns.take(exchange.signal);
    if (turn !== undefined) await turn;
    const giveBack = () => this.#turns.give();
    const program = await startCgiProgram(command, host, this.#log)
      .catch((error) => {
        giveBack();
        throw error;
      });
    void program.ended.then(giveBack);
    const dialogue = new Dialogue(program, seconds);
    const served = dialogue.serve(exchange, content);
    // It may run on after its response, or leave its output to another.
    void Promise.allSettled([served, program.ended])
      .then(() => dialogue.stop());
    try {
      return await served;
    } catch (error) {
      await answerFailure(exchange, error, this.#log);
      await exchange.response.flush();
    } finally {
      await dialogue.sent;
    }
  }

  #environment(
    exchange: Exchange,
    script: Script,
    content: HeldContent,
  ): Record<string, string> {
    const { environment = defaultEnvironment, passAuthorization = false } =
      this.#options;
    const env: Record<string, string> = { ...environment };
    const { scriptName, pathInfo, file, pathTranslated } = script;
    eachMetaVariable(exchange, {
      scriptName,
      pathInfo,
      software: this.#options.software ?? `headgate/${version}`,
      contentLength: exchange.head.framing === "chunked"
        ? content.length
        : undefined,
    }, (name, value) => env[name] = environmentText(value));
    env.SCRIPT_FILENAME = file;
    if (pathTranslated !== undefined) env.PATH_TRANSLATED = pathTranslated;
    if (!passAuthorization) delete env.HTTP_AUTHORIZATION;
    delete env.HTTP_PROXY_AUTHORIZATION;
    return env;
  }
}

/** The file system does not let us look. */
interface Refusal {
  readonly kind: "refused";
  readonly status: number;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text whose UTF-8 is these octets; where they are none, the characters
 * that they are in ISO 8859-1. */
function environmentText(octets: string): string {
  if (!/[\x80-\xff]/.test(octets)) return octets;
  try {
    return utf8.decode(
      Uint8Array.from(octets, (octet) => octet.charCodeAt(0)),
    );
  } catch {
    return octets;
  }
}
