/**
 * Scripts of a directory, run by a FastCGI responder, as PHP's are by PHP-FPM:
 *
 * - A path that names a script has it run, with what follows as its PATH_INFO.
 * - A path that names another file has that sent, but never the source of a
 *   script.
 * - A directory is answered by its index script, or its index.html.
 * - All else goes to the index script of the root, the front controller of most
 *   applications, with `REQUEST_URI` as it came.
 *
 * @module
 */
import type { Exchange, Handler } from "../exchange.ts";
import type { BackendPool } from "../fastcgi/pool.ts";
import type { FileSource } from "../file_source.ts";
import { percentDecoded, utf8Octets } from "../http/path_octets.ts";
import { answer, redirectBelow, refusalOf } from "./answers.ts";
import { type FastCgiOptions, Responders } from "./fastcgi.ts";
import { isWithin, pathPrefix } from "./file_path.ts";
import { files } from "./files.ts";
import { type Script, Scripts } from "./scripts.ts";

/** How the scripts of a directory are served. */
export interface FastCgiScriptsOptions
  extends Omit<FastCgiOptions, "scriptName"> {
  /** The directory. */
  readonly root: string;
  /** Where it is looked at. */
  readonly files: FileSource;
  /** What its paths begin with in a URL, as it stands there: "/blog"; default
   * "/". */
  readonly prefix?: string;
  /** The script that answers for its directory, and in the root for all that
   * names no file; default "index.php". */
  readonly index?: string;
  /** How the names of scripts end; default that of `index`. */
  readonly extension?: string;
  /** The path of `root` as the responder has it, where that is another: in a
   * container, on another machine. */
  readonly responderRoot?: string;
}

/** Makes a handler of the scripts of a directory, which the responders in a pool
 * run. The pool stays the caller's. */
export function fastcgiScripts(
  pool: BackendPool,
  options: FastCgiScriptsOptions,
): Handler {
  const site = new ScriptSite(pool, options);
  return (exchange) => site.handle(exchange);
}

/** Names of sources, and of the copies that people and editors leave of them. */
const sources = /\.(php|(phtml|pht|phar|inc)(?![0-9a-z]))/i;

/** How long it is believed where the root is, and its index script. */
const BELIEVED_MS = 1000;

class ScriptSite {
  readonly #options: FastCgiScriptsOptions;
  readonly #responders: Responders;
  readonly #scripts: Scripts;
  readonly #files: Handler;
  readonly #site: Handler;
  /** The path of the root's index script. */
  readonly #frontPath: string;
  readonly #extension: string;
  /** The root without symbolic links; a deployment may lead it elsewhere. */
  #root: string | undefined;
  #front: Script | undefined;
  #askedAt = -Infinity;

  constructor(pool: BackendPool, options: FastCgiScriptsOptions) {
    const { root, files: source, prefix = "/", index = "index.php" } = options;
    const { log = console, extension = /\.[^.]*$/.exec(index)?.[0] ?? index } =
      options;
    this.#options = options;
    this.#extension = extension.toLowerCase();
    this.#responders = new Responders(pool, options);
    this.#site = options.site ?? ((exchange) => this.handle(exchange));
    this.#scripts = new Scripts({
      files: source,
      directory: root,
      prefix,
      index: [index],
      isScript: (file) => this.#isScript(file),
      mayPrecede: (step) => this.#isScript(step),
    });
    this.#frontPath = `${pathPrefix(prefix)}/${encodeURIComponent(index)}`;
    this.#files = files(root, {
      source,
      prefix,
      log,
      otherwise: (exchange) => this.#runFront(exchange),
    });
  }

  #isScript(file: string): boolean {
    return file.toLowerCase().endsWith(this.#extension);
  }

  async handle(exchange: Exchange): Promise<void> {
    const { response } = exchange;
    try {
      await this.#serve(exchange);
    } catch (error) {
      const status = refusalOf(error);
      if (status === undefined || response.started) throw error;
      await answer(response, status);
    }
  }

  async #serve(exchange: Exchange): Promise<void> {
    const { path } = exchange.head;
    const found = await this.#scripts.find(path);
    if (found.kind === "script") return await this.#run(exchange, found);
    if (found.kind === "slash") return await redirectBelow(exchange);
    // Most paths are the application's own: they cost one look.
    if (found.kind === "nothing" || this.#isSource(path)) {
      return await this.#runFront(exchange);
    }
    await this.#files(exchange);
  }

  #isSource(path: string): boolean {
    const name = percentDecoded(path);
    return sources.test(name) || this.#isScript(name);
  }

  /** The front controller has what names nothing. */
  async #runFront(exchange: Exchange): Promise<void> {
    await this.#lookAgain();
    if (this.#front === undefined) return await answer(exchange.response, 404);
    await this.#run(exchange, this.#front);
  }

  async #lookAgain(): Promise<void> {
    const now = performance.now();
    if (now - this.#askedAt < BELIEVED_MS) return;
    const { files: source, root } = this.#options;
    const front = await this.#scripts.find(this.#frontPath);
    this.#root = await source.resolve(root);
    this.#front = front.kind === "script" ? front : undefined;
    this.#askedAt = now;
  }

  async #run(exchange: Exchange, script: Script): Promise<void> {
    await this.#lookAgain();
    const { scriptName, pathInfo, file } = script;
    const { software } = this.#responders;
    const { params = [], root, responderRoot } = this.#options;
    const local = this.#root !== undefined && isWithin(this.#root, file)
      ? this.#root
      : root;
    const there = (path: string) =>
      utf8Octets(
        responderRoot === undefined || !isWithin(local, path)
          ? path
          : responderRoot + path.slice(local.length),
      );
    const own: (readonly [name: string, value: string])[] = [
      ["DOCUMENT_ROOT", there(local)],
      ["SCRIPT_FILENAME", there(file)],
      // What PHP wants to see where it was not called by its own path.
      ["REDIRECT_STATUS", "200"],
    ];
    const { pathTranslated } = script;
    if (pathTranslated !== undefined) {
      own.push(["PATH_TRANSLATED", there(pathTranslated)]);
    }
    await this.#responders.answer(
      exchange,
      { scriptName, pathInfo, software },
      [...own, ...params],
      this.#site,
    );
  }
}
