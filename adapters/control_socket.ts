/** The control socket: one question and one answer for each connection, a line
 * of JSON each, on a Unix socket that its owner alone may open. */
import { chmodSync, lstatSync, renameSync, unlinkSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { dirname, join } from "node:path";
import process from "node:process";
import type {
  ControlFailure,
  ControlOutcome,
  ControlServer,
} from "../src/daemon/host.ts";
import { listenError } from "./endpoint.ts";
import {
  listenLocal,
  type LocalConnection,
  type LocalListener,
} from "./local_socket.ts";
import { systemCode } from "./whole_write.ts";

/** What Linux has room for. */
const pathBytes = 107;
const questionBytes = 65_536;
/** How long a question may take to come. */
const questionMs = 30_000;

/** Answers on a socket, as `DaemonHost.serveControl` promises. It is made under
 * another name and renamed: so it replaces an older one without a gap, and no
 * runtime, each of which removes the file of a socket that it closes, finds the
 * one that has replaced ours by then. */
export async function serveControl(
  path: string,
  answer: (question: unknown) => Promise<unknown>,
): Promise<ControlServer> {
  const beside = join(dirname(path), `.${process.pid}~`);
  refuseLongPath(path, beside);
  const { listener, ours } = await listenPrivately(path, beside, answer);
  let open = true;
  return {
    close() {
      if (!open) return;
      open = false;
      listener.close();
      if (identityOf(path) === ours) remove(path);
    },
  };
}

function refuseLongPath(path: string, beside: string): void {
  const [length, other] = [path, beside]
    .map((text) => new TextEncoder().encode(text).length);
  if (Math.max(length!, other!) <= pathBytes) return;
  throw Object.assign(
    new Error(
      `Cannot listen on ${path}: the path has ${length} bytes, ` +
        `and a socket's path has at most ${pathBytes}`,
    ),
    { code: "ENAMETOOLONG" },
  );
}

/** The file is the owner's alone from its first moment. */
async function listenPrivately(
  path: string,
  beside: string,
  answer: (question: unknown) => Promise<unknown>,
): Promise<{ listener: LocalListener; ours: string }> {
  const accept = (connection: LocalConnection) =>
    void converse(connection, answer);
  let listener: LocalListener | undefined;
  try {
    refuseOtherFile(path);
    remove(beside);
    const mask = process.umask(0o177);
    let bound;
    try {
      bound = listenLocal(beside, { accept });
    } finally {
      process.umask(mask);
    }
    listener = await bound;
    chmodSync(beside, 0o600);
    const ours = identityOf(beside) ?? "";
    renameSync(beside, path);
    return { listener, ours };
  } catch (cause) {
    listener?.close();
    throw listenError({ path }, cause);
  }
}

function refuseOtherFile(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined || found.isSocket()) return;
  throw Object.assign(new Error("A file that is no socket is there"), {
    code: "EADDRINUSE",
  });
}

async function converse(
  connection: LocalConnection,
  answer: (question: unknown) => Promise<unknown>,
): Promise<void> {
  const deadline = setTimeout(() => connection.drop(), questionMs);
  try {
    const question: unknown = JSON.parse(await readLine(connection));
    clearTimeout(deadline);
    connection.end(`${JSON.stringify(await answer(question))}\n`);
  } catch {
    connection.drop(); // no question, or none that has an answer
  } finally {
    clearTimeout(deadline);
  }
}

/** The first line. Throws when it is too long, or not whole. */
async function readLine(connection: LocalConnection): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let text = "";
  let length = 0;
  for (;;) {
    const chunk = await connection.read();
    if (chunk === null) throw new RangeError("The question is cut short");
    length += chunk.length;
    if (length > questionBytes) throw new RangeError("Too long a question");
    text += decoder.decode(chunk, { stream: true });
    const end = text.indexOf("\n");
    if (end >= 0) return text.slice(0, end);
  }
}

/** Tells a file from another that was put in its place. */
function identityOf(path: string): string | undefined {
  try {
    const { dev, ino } = lstatSync(path);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function remove(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}

// ---- Asking ----

/** Asks on a control socket, as `DaemonHost.askControl` promises. */
export function askControl(
  path: string,
  question: unknown,
  timeoutSeconds: number,
): Promise<ControlOutcome> {
  return new Promise((resolve) => {
    let text = "";
    let socket: Socket | undefined;
    const settle = (outcome: ControlOutcome) => {
      clearTimeout(deadline);
      socket?.destroy();
      resolve(outcome);
    };
    const deadline = setTimeout(
      () => settle({ failure: "silent" }),
      timeoutSeconds * 1000,
    );
    try {
      socket = connect({ path });
    } catch (error) {
      return settle({ failure: failureOf(error) });
    }
    socket.setEncoding("utf8");
    socket.on("connect", () => {
      socket?.write(`${JSON.stringify(question)}\n`);
    });
    socket.on("data", (chunk) => {
      text += chunk;
      if (text.endsWith("\n")) settle(readAnswer(text));
    });
    socket.on("end", () => settle(readAnswer(text)));
    socket.on("error", (error) => settle({ failure: failureOf(error) }));
    socket.on("close", () => settle({ failure: "silent" }));
  });
}

/** What is cut short was not answered. */
function readAnswer(text: string): ControlOutcome {
  try {
    return { answer: JSON.parse(text) };
  } catch {
    return { failure: "silent" };
  }
}

function failureOf(error: unknown): ControlFailure {
  switch (systemCode(error)) {
    case "EACCES":
    case "EPERM":
      return "forbidden";
    case "EAGAIN": // its queue is full
    case "ECONNRESET":
    case "EPIPE":
      return "silent";
    default:
      return "absent";
  }
}
