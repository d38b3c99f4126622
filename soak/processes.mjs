/** What the kernel tells about processes and their connections. Linux. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import process from "node:process";

function read(path) {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // It has ended, or is not ours to read.
  }
}

/** The processes that were started with `mark` in their environment, or by one
 * that was: however far they went from their parents, they are ours. */
export function marked(mark) {
  return readdirSync("/proc").filter((name) => /^\d+$/.test(name))
    .filter((pid) => read(`/proc/${pid}/environ`).split("\0").includes(mark))
    .map(Number);
}

/** Ends processes at once. */
export function kill(pids) {
  for (const pid of pids) signal(pid, "SIGKILL");
}

/** Sends a signal; false when there is no such process. */
export function signal(pid, name) {
  try {
    return process.kill(pid, name);
  } catch {
    return false;
  }
}

/** Who started it; undefined when it has ended. */
export function parentOf(pid) {
  // The name, in parentheses, may hold spaces.
  const fields = read(`/proc/${pid}/stat`).split(") ").at(-1).split(" ");
  return fields.length > 1 && fields[0] !== "Z" ? Number(fields[1]) : undefined;
}

/** Processor time of all its threads so far, in seconds. */
export function cpuSeconds(pid) {
  const fields = read(`/proc/${pid}/stat`).split(") ").at(-1).split(" ");
  return fields.length > 1
    ? (Number(fields[11]) + Number(fields[12])) / 100
    : 0;
}

/** Its share of the memory in RAM, in bytes: what it has alone, and its part of
 * what several have. */
export function proportionalMemory(pid) {
  const rollup = read(`/proc/${pid}/smaps_rollup`);
  return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? NaN) * 1024;
}

/** Processor time of the machine since it started, in seconds: all of it, and
 * what nobody used. */
export function machineSeconds() {
  const ticks = read("/proc/stat").split("\n", 1)[0].split(/\s+/).slice(1, 9)
    .map((ticks) => Number(ticks) / 100);
  const [, , , idle, wait] = ticks;
  const all = ticks.reduce((sum, one) => sum + one, 0);
  return { all, idle: idle + wait };
}

/** The server's ends of established connections to `port`: the client's end of
 * each, as in "127.0.0.1:40000", with the socket's inode, which is 0 while the
 * connection waits to be accepted. */
export function connectionsTo(port) {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const connections = new Map();
  for (const line of read("/proc/net/tcp").split("\n").slice(1)) {
    const [, own, peer, state, , , , , , inode] = line.trim().split(/\s+/);
    // 01 is ESTABLISHED, 08 CLOSE_WAIT: the client has ended its direction.
    if (!own?.endsWith(local) || (state !== "01" && state !== "08")) continue;
    connections.set(readAddress(peer), Number(inode));
  }
  return connections;
}

/** "0100007F:1F40" as "127.0.0.1:8000". */
function readAddress(text) {
  const [host, port] = text.split(":");
  const octets = host.match(/../g).reverse().map((octet) =>
    parseInt(octet, 16)
  );
  return `${octets.join(".")}:${parseInt(port, 16)}`;
}

/** The inodes of the sockets that a process has open. */
export function socketsOf(pid) {
  const inodes = new Set();
  const folder = `/proc/${pid}/fd`;
  let names = [];
  try {
    names = readdirSync(folder);
  } catch {
    return inodes;
  }
  for (const name of names) {
    try {
      const inode = /^socket:\[(\d+)\]$/.exec(
        readlinkSync(`${folder}/${name}`),
      );
      if (inode) inodes.add(Number(inode[1]));
    } catch {
      // Closed meanwhile.
    }
  }
  return inodes;
}
