/** The commands: each is a process of its own, which knows of the daemon what
 * the pidfile tells, and speaks to it by signals. */
import { closeSync, openSync } from "node:fs";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { daemonHost } from "../../../adapters/daemon_host.ts";
import { pidfile, readPid } from "./pidfile.ts";
import { spawnSelf } from "./spawn.ts";

const port = Number(process.env["PORT"] ?? 8888);
const logFile = "daemon.log";

/** Opens the socket, gives it to a master, and leaves once that is ready. */
export async function start(): Promise<number> {
  const running = readPid();
  if (running !== undefined && daemonHost.isAlive(running)) {
    return tell(`Already running with pid ${running}`, 1);
  }
  // Whoever starts a server is here to be told that the port is taken; a daemon
  // has nobody to tell it to.
  const { sockets: [socket], close } = await daemonHost.bind([{ port }], 1);
  const log = openSync(logFile, "a", 0o640);
  const master = spawnSelf("master", ["ignore", log, log, socket!.fd]);
  close(); // the master has a copy; nobody is to be accepted here
  closeSync(log);
  const ready = await new Promise((resolve) => {
    master.once("message", () => resolve(true));
    master.once("exit", () => resolve(false));
  });
  return ready
    ? tell(`Started with pid ${master.pid}, port ${socket!.address.port}`)
    : tell(`Not started; see ${logFile}`, 1);
}

const patienceSeconds = 15;

/** Asks the master to end, and waits until it has. */
export async function stop(): Promise<number> {
  const pid = readPid();
  if (pid === undefined || !daemonHost.isAlive(pid)) return tell("Not running");
  process.kill(pid, "SIGTERM");
  const deadline = Date.now() + patienceSeconds * 1000;
  while (daemonHost.isAlive(pid)) {
    if (Date.now() > deadline) return tell(`Pid ${pid} has not ended`, 1);
    await sleep(50);
  }
  return tell(`Stopped (pid ${pid})`);
}

/** Tells whether it runs, with the exit codes that service scripts have. */
export function status(): Promise<number> {
  const pid = readPid();
  if (pid === undefined) return Promise.resolve(tell("Not running", 3));
  return Promise.resolve(
    daemonHost.isAlive(pid)
      ? tell(`Running with pid ${pid}`)
      : tell(`Pid ${pid} is dead, and ${pidfile} is left`, 1),
  );
}

function tell(message: string, exitCode = 0): number {
  console.log(message);
  return exitCode;
}
