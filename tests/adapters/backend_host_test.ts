/** `backendHost`: connections, programs and files, all real ones. */
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { backendHost } from "../../adapters/backend_host.ts";
import { bunConnect } from "../../adapters/bun.ts";
import { denoConnect } from "../../adapters/deno.ts";
import { connectWithDeno } from "../../adapters/deno_listen.ts";
import { detectProcessHost } from "../../adapters/detect.ts";
import { nodeConnect } from "../../adapters/node.ts";
import type { Program, ProgramCommand } from "../../src/backend_host.ts";
import { StreamError } from "../../src/errors.ts";
import type { ByteStream, ConnectOptions } from "../../src/stream.ts";
import { freePort } from "../support/free_port.ts";
import { sourceArgs } from "../support/source_program.ts";
import {
  conform,
  echo,
  mismatch,
  pattern,
  readBytes,
  runtime,
  until,
} from "./fixture.ts";

const onLinux = process.platform === "linux";
const decoder = new TextDecoder();

const directory = mkdtempSync(join(tmpdir(), "headgate-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

// ---- Connections ----

type Connect = (options: ConnectOptions) => Promise<ByteStream>;

const connectOf: Readonly<Record<string, Connect>> = {
  deno: denoConnect,
  "Deno.listen": connectWithDeno,
  bun: bunConnect,
  node: nodeConnect,
};

conform(
  "connects over TCP, both ways, to the end",
  async (bench, transport) => {
    const listener = await bench.listen({ port: 0 }, (stream) => {
      void echo(stream);
    });
    const { host, port } = listener.address;
    const stream = await connectOf[transport.name]!({ hostname: host, port });
    try {
      assertEquals(stream.remote, { host, port });
      assertEquals(stream.local.host, host);
      assert(stream.local.port > 0 && stream.local.port !== port);
      const bytes = pattern(300_000);
      const writing = stream.write(bytes);
      const received = await readBytes(stream, bytes.length);
      await writing;
      assertEquals(received.length, bytes.length);
      assertEquals(mismatch(received), -1);
      stream.closeWrite();
      assertEquals(await stream.read(), null);
    } finally {
      stream.close();
    }
  },
);

conform("connects to a Unix-domain socket", async (bench, transport) => {
  const path = join(directory, `${transport.name}.sock`);
  const listener = await bench.listen({ path }, (stream) => void echo(stream));
  const stream = await connectOf[transport.name]!({ path });
  try {
    assertEquals(stream.remote, { host: path, port: 0 });
    assertEquals(stream.local, { host: "", port: 0 });
    await stream.write(pattern(5));
    stream.closeWrite();
    assertEquals(await readBytes(stream, 99), pattern(5));
  } finally {
    stream.close();
    await listener.close();
  }
});

conform("says in vain whom it has connected to", async (_, transport) => {
  const connect = connectOf[transport.name]!;
  const codes = async (options: ConnectOptions) => {
    const error = await assertRejects(() => connect(options), Error);
    assertMatch(error.message, /^Cannot connect to /);
    return (error as Error & { code?: string }).code;
  };
  assertEquals(await codes({ path: join(directory, "none") }), "ENOENT");
  assertEquals(await codes({ port: await freePort() }), "ECONNREFUSED");
  const unknown = await codes({ hostname: "nowhere.invalid", port: 80 });
  assertMatch(unknown!, /^(ENOTFOUND|EAI_AGAIN)$/); // there may be nobody to ask
});

test("backendHost connects with what the runtime has", async () => {
  assertEquals(backendHost.connect, connectOf[runtime]);
  assertStrictEquals(
    await (await detectProcessHost()).backends(),
    backendHost,
  );
});

// ---- Programs ----

/** A shell command, with nothing of ours but the PATH. */
function shell(script: string, more: Partial<ProgramCommand> = {}): Promise<
  Program
> {
  return backendHost.start({
    file: "/bin/sh",
    args: ["-c", script],
    env: { PATH: process.env.PATH ?? "" },
    errors: "inherit",
    sharesOutput: false,
    ...more,
  });
}

/** All that a program has yet to write. */
async function outputOf(program: Program): Promise<string> {
  let text = "";
  for (;;) {
    const bytes = await program.read();
    if (bytes === null) return text;
    text += decoder.decode(bytes);
  }
}

function end(program: Program): void {
  program.kill("SIGKILL", "group");
  program.closeInput();
  program.closeOutput();
}

test("start() hands over input and output, and tells how it ended", async () => {
  const program = await shell("cat; exit 7");
  await program.write(new TextEncoder().encode("one "));
  await program.write(new TextEncoder().encode("two"));
  program.closeInput();
  program.closeInput();
  assertEquals(await outputOf(program), "one two");
  assertEquals(await program.ended, { code: 7, signal: null });
  assertEquals(await program.read(), null);
});

test("start() gives the environment and the directory, and nothing else", async () => {
  const program = await shell("pwd; exec /usr/bin/env", {
    env: { ONLY: "thé" },
    cwd: directory,
  });
  const lines = (await outputOf(program)).trimEnd().split("\n");
  // A shell has a few of its own.
  const own = /^(PWD|OLDPWD|SHLVL|_)=/;
  assertEquals(lines.filter((line) => !own.test(line)), [
    directory,
    "ONLY=thé",
  ]);
  end(program);
});

test("start() looks along our PATH, not along the program's", async () => {
  const program = await backendHost.start({
    file: "echo",
    args: ["a b", ""],
    env: { PATH: "/nowhere" },
    errors: "inherit",
    sharesOutput: false,
  });
  assertEquals(await outputOf(program), "a b \n");
  end(program);
});

test("start() rejects where there is no such program, or none at all", async () => {
  const codeOf = async (file: string, cwd?: string) => {
    const where = cwd === undefined ? {} : { cwd };
    const start = shell("", { file, ...where });
    return (await assertRejects(() => start, Error) as { code?: string }).code;
  };
  assertEquals(await codeOf("/nowhere/program"), "ENOENT");
  assertEquals(await codeOf("headgate-no-such-program"), "ENOENT");
  assertEquals(await codeOf("/bin/sh", "/nowhere"), "ENOENT");
  const path = join(directory, "not-executable");
  writeFileSync(path, "#!/bin/sh\n", { mode: 0o644 });
  assertEquals(await codeOf(path), "EACCES");
});

test("start() passes standard error on in lines, long ones in parts", async () => {
  const lines: string[] = [];
  const program = await shell(
    `printf 'one\\n\\n%09000d\\nthree' 0 >&2; printf '%020000d' 0 >&2`,
    { errors: (line) => void lines.push(line) },
  );
  await program.ended;
  await until(() => lines.length >= 7, "the lines");
  assertEquals(lines.slice(0, 2), ["one", ""]);
  assertEquals(lines.slice(2).map(({ length }) => length), [
    8192,
    9000 - 8192,
    8192,
    8192,
    20_005 - 2 * 8192,
  ]);
  end(program);
});

test("a program that nobody reads has to wait", async () => {
  if (!onLinux) return;
  const program = await shell("exec yes");
  const written = () =>
    /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${program.pid}/io`, "utf8"))![1];
  assert((await program.read())!.length > 0);
  // It waits once its account stands still; no state of a process lasts longer.
  let before = "";
  let steady = 0;
  await until(() => {
    const now = written()!;
    steady = now === before ? steady + 1 : 0;
    before = now;
    return steady > 100;
  }, "the program to wait");
  assert(Number(before) < 4_000_000, before);
  program.closeOutput();
  const { code, signal } = await program.ended;
  assert(code !== 0, `${code} ${signal}`);
  assertEquals(await program.read(), null);
});

test("write() waits for the program, and fails when it reads no more", async () => {
  const patient = await shell("read line; exec wc -c");
  let settled = false;
  const writing = Promise.resolve(patient.write(new Uint8Array(4_000_000)))
    .then(() => settled = true);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assertEquals(settled, false);
  await patient.write(new TextEncoder().encode("\n"));
  await writing;
  patient.closeInput();
  await outputOf(patient);
  const deaf = await shell("exec <&-; exec sleep 100");
  await assertRejects(async () => {
    for (;;) await deaf.write(pattern(65_536));
  }, StreamError);
  end(deaf);
  assertEquals((await deaf.ended).signal, "SIGKILL");
});

test("a write that is pending fails when the program ends", async () => {
  const program = await shell("exec sleep 100");
  const writes = [1, 2].map(() =>
    Promise.resolve(program.write(pattern(4_000_000)))
  );
  for (const writing of writes) writing.catch(() => {});
  program.kill("SIGTERM");
  assertEquals(await program.ended, { code: null, signal: "SIGTERM" });
  for (const writing of writes) {
    await assertRejects(() => writing, StreamError);
  }
  end(program);
});

test("ended does not wait for who holds the output; the group can be killed", async () => {
  const program = await shell("sleep 100 & echo $!; exit 3");
  const child = Number(decoder.decode((await program.read())!));
  assertEquals(await program.ended, { code: 3, signal: null });
  process.kill(child, 0);
  program.kill("SIGTERM"); // it has gone: nobody is meant
  process.kill(child, 0);
  program.kill("SIGKILL", "group");
  assertEquals(await program.read(), null);
  program.kill("SIGKILL", "group");
  end(program);
});

test("sharesOutput: our output is descriptor 3, its own is still the pipe", async () => {
  if (!onLinux) return;
  const program = await sideProgram("share");
  assertEquals(
    await outputOf(program),
    "to ours\nit says: to the pipe, hello\n",
  );
  assertEquals(await program.ended, { code: 0, signal: null });
  end(program);
});

test("no program outlives who has started it, whatever it makes of being asked", async () => {
  if (!onLinux) return;
  const lines: string[] = [];
  const program = await sideProgram("programs", (line) => lines.push(line));
  const pids = (await outputOf(program)).trimEnd().split("\n").map(Number);
  assertEquals(await program.ended, { code: 0, signal: null });
  assertEquals(pids.length, 3);
  await until(() => !pids.some(runs), "the end of all programs");
  await until(() => lines.includes("asked"), "the last words");
  end(program);
});

/** Whether a process runs: one that has ended may wait for its parent. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

function sideProgram(
  way: string,
  errors: "inherit" | ((line: string) => void) = "inherit",
): Promise<Program> {
  return backendHost.start({
    file: process.execPath,
    args: [...sourceArgs("tests/adapters/backend_program.ts"), way],
    env: process.env as Record<string, string>,
    errors,
    sharesOutput: false,
  });
}

/** What this process was started with, and hands on as it was. */
const inherited: readonly string[] = onLinux ? openThings() : [];

/** What our descriptors beyond the standard streams are open on. */
function openThings(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => Number(fd) > 2)
    .flatMap((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return []; // it was open for the listing alone
      }
    });
}

test("start() leaves none of our sockets and pipes to the program", async () => {
  if (!onLinux) return;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const first = await shell("read end; echo end");
  const second = await shell("ls -l /proc/self/fd; read end");
  try {
    second.closeInput();
    const text = await outputOf(second);
    const held = [...text.matchAll(/ (\d+) -> ((?:socket|pipe):.*)/g)]
      .filter(([, fd]) => Number(fd) > 2)
      .map(([, , thing]) => thing!);
    assertEquals(held.filter((thing) => !inherited.includes(thing)), []);
    first.closeInput(); // nobody else holds its input open
    assertEquals(await outputOf(first), "end\n");
  } finally {
    end(first);
    end(second);
    await new Promise((resolve) => server.close(resolve));
  }
});

// ---- Files ----

test("makePrivate() is ours alone, and goes with all that is in it", () => {
  const place = backendHost.makePrivate();
  try {
    assert(place.startsWith("/") || !onLinux);
    if (onLinux) assertEquals(statSync(place).mode & 0o777, 0o700);
    const file = join(place, "text");
    assertEquals(backendHost.readText(file), "");
    backendHost.writeText(file, "thé\n");
    assertEquals(backendHost.readText(file), "thé\n");
    if (onLinux) assertEquals(statSync(file).mode & 0o777, 0o600);
  } finally {
    backendHost.removePrivate(place);
  }
  assert(!existsSync(place));
  backendHost.removePrivate(place);
});

test("removePrivate() removes nothing that makePrivate() has not made", () => {
  backendHost.removePrivate(directory);
  assert(existsSync(directory));
});

for (const way of ["exit", "end"]) {
  test(`makePrivate(): removed when the process comes to its ${way}`, async () => {
    const program = await sideProgram(way);
    const place = (await outputOf(program)).trimEnd();
    assertEquals(await program.ended, { code: 0, signal: null });
    assertMatch(place, /headgate-/);
    assert(!existsSync(place), place);
    end(program);
  });
}

test("openSpool() keeps what it is given under no name", async () => {
  const spool = await backendHost.openSpool();
  try {
    const bytes = pattern(300_000);
    for (let at = 0; at < bytes.length; at += 70_000) {
      await spool.append(bytes.subarray(at, at + 70_000));
    }
    const found = new Uint8Array(400_000);
    let length = 0;
    for (;;) {
      const count = await spool.read(found.subarray(length), length);
      if (count === 0) break;
      length += count;
    }
    assertEquals(length, bytes.length);
    assertEquals(mismatch(found.subarray(0, length)), -1);
    if (onLinux) {
      assert(openThings().some((thing) => / \(deleted\)$/.test(thing)));
    }
  } finally {
    spool.close();
    spool.close();
  }
  await until(
    () => !openThings().some((thing) => / \(deleted\)$/.test(thing)),
    "the file to be closed",
  );
});

test("isExecutable() asks for a file that we may execute", () => {
  const path = join(directory, "script");
  writeFileSync(path, "#!/bin/sh\n", { mode: 0o644 });
  assertEquals(backendHost.isExecutable(path), false);
  chmodSync(path, 0o755);
  assertEquals(backendHost.isExecutable(path), true);
  assertEquals(backendHost.isExecutable(directory), false);
  assertEquals(backendHost.isExecutable(join(directory, "none")), false);
});

test("residentBytes() is the memory of a process", () => {
  if (!onLinux) return;
  assert(backendHost.residentBytes(process.pid)! > 1_000_000);
  assertEquals(backendHost.residentBytes(0x7fff_fff0), undefined);
});
