/**
 * What a developer's server asks of its machine: keys and the browser, over
 * `node:` modules; `folder_watch.ts` has the files.
 *
 * @module
 */
import { spawn } from "node:child_process";
import process from "node:process";
import type { DevHost } from "../src/host.ts";
import { watchFolder } from "./folder_watch.ts";

/** The machine that this code runs on. */
export const devHost: DevHost = { watch: watchFolder, keys, open };

function keys(onKey: (key: string) => void): (() => void) | undefined {
  const { stdin } = process;
  if (!stdin.isTTY) return undefined;
  const take = (piece: Uint8Array) => {
    for (const key of new TextDecoder().decode(piece)) onKey(key);
  };
  let lost = false;
  const restore = () => {
    if (!lost) stdin.setRawMode(false);
  };
  // A terminal that is closed has nobody left who could press a key.
  const lose = () => {
    lost = true;
    onKey("\x03");
  };
  stdin.setRawMode(true);
  stdin.on("data", take);
  stdin.on("end", lose);
  stdin.on("error", lose);
  process.on("exit", restore);
  return () => {
    stdin.off("data", take);
    stdin.off("end", lose);
    stdin.pause();
    process.off("exit", restore);
    restore();
  };
}

const openers: Readonly<Record<string, readonly string[]>> = {
  darwin: ["open"],
  win32: ["cmd", "/c", "start", ""],
};

function open(url: string, onFailure: (why: string) => void): void {
  const [command = "", ...before] = openers[process.platform] ?? ["xdg-open"];
  const child = spawn(command, [...before, url], {
    stdio: "ignore",
    detached: true,
  });
  child.on("error", ({ message }) => onFailure(message));
  child.on("exit", (code) => {
    if (code !== 0) onFailure(`${command} ended with ${code}`);
  });
  child.unref();
}
