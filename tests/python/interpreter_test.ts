/** Which Python is chosen, and what is said of one that will not do. */
import { test } from "node:test";
import {
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "@std/assert";
import type { Program, ProgramCommand } from "../../src/backend_host.ts";
import { CommandError } from "../../src/command_error.ts";
import {
  faultOf,
  findInterpreter,
  type InterpreterHost,
} from "../../src/python/interpreter.ts";
import { octets } from "../support/octets.ts";

function hostWith(...executables: string[]): InterpreterHost {
  return {
    isExecutable: (path) => executables.includes(path),
    start: () => Promise.reject(new Error("nothing is started here")),
  };
}

test("findInterpreter() takes the one that is named", () => {
  const host = hostWith("/a/python3", "./bin/python", "/b/python3");
  const env = { PATH: "/b:/a", VIRTUAL_ENV: "/nowhere" };
  assertEquals(findInterpreter("./bin/python", env, host), "./bin/python");
  assertEquals(findInterpreter("python3", env, host), "/b/python3");
  const error = assertThrows(
    () => findInterpreter("python4", env, host),
    CommandError,
    "No Python interpreter python4",
  );
  assertMatch(error.remedy, /--python/);
  assertThrows(() => findInterpreter("./python3", env, host), CommandError);
});

test("findInterpreter() takes that of the active virtual environment", () => {
  const host = hostWith("/a/python3", "/venv/bin/python");
  const env = { PATH: "/a", VIRTUAL_ENV: "/venv" };
  assertEquals(findInterpreter(undefined, env, host), "/venv/bin/python");
  const error = assertThrows(
    () => findInterpreter(undefined, { ...env, VIRTUAL_ENV: "/gone" }, host),
    CommandError,
    "No Python interpreter /gone/bin/python, where VIRTUAL_ENV",
  );
  assertMatch(error.remedy, /deactivate/);
});

test("findInterpreter() looks along PATH, for python3 first", () => {
  const env = { PATH: "/a:/b:", VIRTUAL_ENV: "" };
  const find = (...executables: string[]) =>
    findInterpreter(undefined, env, hostWith(...executables));
  assertEquals(find("/a/python", "/b/python3"), "/b/python3");
  assertEquals(find("/b/python", "/c/python3"), "/b/python");
  assertEquals(find("./python3"), "./python3");
  const error = assertThrows(() => find(), CommandError, "No Python");
  assertMatch(error.remedy, /Install Python 3\.9 .*--python/);
  assertThrows(
    () => findInterpreter(undefined, {}, hostWith("python3", "/python3")),
    CommandError,
  );
});

/** A program that has ended, and what it wrote. */
function ended(read: Program["read"]): Program {
  return {
    pid: 1,
    write: () => {},
    closeInput: () => {},
    read,
    closeOutput: () => {},
    ended: Promise.resolve({ code: 0, signal: null }),
    kill: () => {},
  };
}

/** An interpreter that prints `output`, and `errors` to standard error. */
function answering(output: string, ...errors: string[]): {
  host: InterpreterHost;
  commands: ProgramCommand[];
} {
  const commands: ProgramCommand[] = [];
  const start = (command: ProgramCommand): Promise<Program> => {
    commands.push(command);
    const pieces = [octets(output)];
    const { errors: tell } = command;
    if (tell !== "inherit") { for (const line of errors) tell(line); }
    return Promise.resolve(
      ended(() => Promise.resolve(pieces.shift() ?? null)),
    );
  };
  return { host: { isExecutable: () => true, start }, commands };
}

test("faultOf() finds no fault with Python 3.9 and later", async () => {
  for (const version of ["3.9.0", "3.14.2", "4.0.0"]) {
    const { host, commands } = answering(`HEADGATE ${version}\n`);
    assertEquals(await faultOf("/a/python", { A: "b" }, host), undefined);
    assertEquals(commands[0]?.file, "/a/python");
    assertEquals(commands[0]?.env, { A: "b" });
  }
});

test("faultOf() tells a version that is too old", async () => {
  for (const version of ["2.7.18", "3.8.20"]) {
    const { host } = answering(`HEADGATE ${version}\n`);
    const fault = await faultOf("/a/python", {}, host);
    assertEquals(
      fault?.message,
      `/a/python is Python ${version}, which is too old`,
    );
    assertMatch(fault?.remedy ?? "", /Python 3\.9 or later: --python/);
  }
});

test("faultOf() tells what is no Python, with what it says", async () => {
  const { host } = answering("", "pyenv: python3: command not found");
  const fault = await faultOf("/a/python3", {}, host);
  assertMatch(fault?.message ?? "", /does not answer as Python does/);
  assertEquals(fault?.detail, "pyenv: python3: command not found");
  const silent = await faultOf("/bin/true", {}, answering("").host);
  assertEquals(silent?.detail, undefined);
});

test("faultOf() tells what cannot be started", async () => {
  const refused = Object.assign(new Error("denied"), { code: "EACCES" });
  const fault = await faultOf("/a/python3", {}, {
    isExecutable: () => true,
    start: () => Promise.reject(refused),
  });
  assertEquals(fault?.message, "Cannot run /a/python3");
  assertMatch(fault?.detail ?? "", /^EACCES .*denied/);
});

test("faultOf() lets a fault of the pipe surface", async () => {
  const broken: InterpreterHost = {
    isExecutable: () => true,
    start: () =>
      Promise.resolve(ended(() => Promise.reject(new Error("broken")))),
  };
  await assertRejects(() => faultOf("/a/python3", {}, broken), Error, "broken");
});
