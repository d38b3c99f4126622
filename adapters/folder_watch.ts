/**
 * Watches the files below a folder. Runtimes tell of more than changes (that a
 * file was read, for one), and of some changes twice: so an event only says
 * where to look, and what counts is whether a file is another than it was.
 *
 * @module
 */
import {
  type Dirent,
  type FSWatcher,
  lstatSync,
  readdirSync,
  statSync,
  watch,
} from "node:fs";
import { basename, join, relative } from "node:path";
import type { WatchEvents, WatchInterest } from "../src/host.ts";

/** More folders than this are no source of one application; the system's
 * watches are for others, too. */
const mostFolders = 2000;

/** Watches the files below a folder, and the folders that it will have. The
 * returned function ends that. */
export function watchFolder(
  folder: string,
  interest: WatchInterest,
  events: WatchEvents,
): () => void {
  const watcher = new FolderWatch(folder, interest, events);
  return () => watcher.close();
}

class FolderWatch {
  readonly #root: string;
  readonly #interest: WatchInterest;
  readonly #events: WatchEvents;
  /** The folders that are watched, and which ones they were by then. */
  #folders = new Map<string, string>();
  /** What each file was when it was last looked at. */
  readonly #files = new Map<string, string>();
  #end: () => void = () => {};
  #closed = false;
  #isTooLarge = false;

  constructor(root: string, interest: WatchInterest, events: WatchEvents) {
    this.#root = root;
    this.#interest = interest;
    this.#events = events;
    this.#begin(false);
  }

  close(): void {
    this.#closed = true;
    this.#end();
  }

  /** Watches what folders there are. Runtimes go by the path: to watch another
   * folder of the same name takes an end of the former watch. */
  #begin(tell: boolean): void {
    this.#end();
    this.#folders = new Map();
    this.#collect(this.#root);
    this.#end = this.#watchAll([...this.#folders.keys()]);
    const paths = new Set(this.#files.keys());
    for (const folder of this.#folders.keys()) {
      for (const { name } of entriesOf(folder)) {
        if (this.#interest.isSourceFile(name)) paths.add(join(folder, name));
      }
    }
    for (const path of paths) this.#compare(path, tell);
  }

  #collect(folder: string): void {
    const identity = identityOf(folder);
    if (identity === undefined) return;
    if (this.#folders.size === mostFolders) {
      if (!this.#isTooLarge) {
        this.#fail(`${this.#root} holds more than ${mostFolders} folders`);
      }
      this.#isTooLarge = true;
      return;
    }
    this.#folders.set(folder, identity);
    for (const entry of entriesOf(folder)) {
      if (!entry.isDirectory()) continue;
      if (!this.#interest.isSourceFolder(entry.name)) continue;
      this.#collect(join(folder, entry.name));
    }
  }

  #watchAll(folders: readonly string[]): () => void {
    try {
      return watchAll(
        folders,
        (path) => this.#look(path),
        (why) => this.#fail(why),
      );
    } catch (error) {
      this.#fail(String(error));
      return () => {};
    }
  }

  /** Something may have happened there. */
  #look(path: string): void {
    if (this.#closed) return;
    const name = basename(path);
    if (this.#interest.isSourceFile(name)) this.#compare(path, true);
    if (path === this.#root || !this.#interest.isSourceFolder(name)) return;
    if (this.#isTooLarge) return;
    if (identityOf(path) !== this.#folders.get(path)) this.#begin(true);
  }

  #compare(path: string, tell: boolean): void {
    const now = printOf(path);
    if (now === this.#files.get(path)) return;
    if (now === undefined) this.#files.delete(path);
    else this.#files.set(path, now);
    if (tell) this.#events.onChange(relative(this.#root, path));
  }

  #fail(why: string): void {
    if (!this.#closed) this.#events.onFailure(why);
  }
}

/** Tells a folder from another that takes its path later; undefined where there
 * is none. */
function identityOf(path: string): string | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (!found?.isDirectory()) return undefined;
  return `${found.ino} ${found.birthtimeMs}`;
}

function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return []; // it has gone, or is not ours to read
  }
}

/** Tells one state of a file from another; undefined where there is none. */
function printOf(path: string): string | undefined {
  try {
    const found = statSync(path);
    if (!found.isFile()) return undefined;
    return `${found.ino} ${found.size} ${found.mtimeMs}`;
  } catch {
    return undefined;
  }
}

// ---- The runtimes' watchers ----

/** The part of `Deno` that is used here. */
interface DenoWatcher {
  watchFs(
    paths: readonly string[],
    options: { recursive: boolean },
  ): AsyncIterable<{ readonly paths: readonly string[] }> & { close(): void };
}

/** Watches folders, without those below them. Throws where the system refuses. */
function watchAll(
  folders: readonly string[],
  look: (path: string) => void,
  fail: (why: string) => void,
): () => void {
  // Its `node:fs` takes an instance of inotify for each folder, of which a
  // user has 128.
  const { Deno } = globalThis as unknown as { Deno?: DenoWatcher };
  if (Deno !== undefined) return watchOnDeno(Deno, folders, look, fail);
  const watchers: FSWatcher[] = [];
  let closed = false;
  const close = () => {
    closed = true;
    for (const watcher of watchers) watcher.close();
  };
  try {
    for (const folder of folders) {
      const watcher = watch(folder, (_, name) => {
        if (name !== null && !closed) look(join(folder, name));
      });
      watcher.on("error", (error) => fail(String(error)));
      watchers.push(watcher);
    }
  } catch (error) {
    close();
    throw error;
  }
  return close;
}

function watchOnDeno(
  { watchFs }: DenoWatcher,
  folders: readonly string[],
  look: (path: string) => void,
  fail: (why: string) => void,
): () => void {
  const watcher = watchFs(folders, { recursive: false });
  let closed = false;
  (async () => {
    for await (const { paths } of watcher) {
      for (const path of paths) if (!closed) look(path);
    }
  })().catch((error) => {
    if (!closed) fail(String(error));
  });
  return () => {
    if (!closed) watcher.close();
    closed = true;
  };
}
