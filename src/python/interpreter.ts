/**
 * Which Python runs the application, and whether it can.
 *
 * @module
 */
import type { BackendHost, Program } from "../backend_host.ts";
import { CommandError, errorCode } from "../command_error.ts";

/** What the machine lends to the search. */
export type InterpreterHost = Pick<BackendHost, "isExecutable" | "start">;

/** The environment of a program. */
export type ProgramEnvironment = Readonly<Record<string, string>>;

/** The oldest Python that the responder runs on. */
const oldestMajor = 3;
const oldestMinor = 9;

const remedy = "Name Python 3.9 or later: --python /usr/bin/python3.";

/** How much of what a stranger prints is looked at. */
const longestAnswer = 4096;

/** How long an interpreter may take to tell its version. */
const answerSeconds = 10;

/** The interpreter that the user names; else that of the active virtual
 * environment, else `python3`, else `python` along `PATH`. Throws
 * `CommandError` when there is none. */
export function findInterpreter(
  named: string | undefined,
  env: ProgramEnvironment,
  host: InterpreterHost,
): string {
  if (named !== undefined) {
    const file = locate(named, env, host);
    if (file !== undefined) return file;
    throw new CommandError(
      1,
      `No Python interpreter ${named}`,
      "Check the spelling of --python: a file that may be executed, or a " +
        "name that is on PATH.",
    );
  }
  const { VIRTUAL_ENV: environment = "" } = env;
  if (environment !== "") return ofEnvironment(environment, host);
  const found = locate("python3", env, host) ?? locate("python", env, host);
  if (found !== undefined) return found;
  throw new CommandError(
    1,
    "No Python interpreter: neither python3 nor python is on PATH",
    "Install Python 3.9 or later, or name one: --python /usr/bin/python3. " +
      "Without Python, name an application in JavaScript or TypeScript, as " +
      "in app.ts:app.",
  );
}

/** To serve with another Python would be served without what the user has
 * installed there. */
function ofEnvironment(directory: string, host: InterpreterHost): string {
  const file = `${directory}/bin/python`;
  if (host.isExecutable(file)) return file;
  throw new CommandError(
    1,
    `No Python interpreter ${file}, where VIRTUAL_ENV says that it is`,
    "Make the virtual environment anew, leave it (deactivate), or name an " +
      "interpreter: --python /usr/bin/python3.",
  );
}

/** The file of a program; a name without "/" is looked for along `PATH`. */
function locate(
  name: string,
  env: ProgramEnvironment,
  host: InterpreterHost,
): string | undefined {
  if (name.includes("/")) return host.isExecutable(name) ? name : undefined;
  return (env["PATH"] ?? "").split(":")
    .map((directory) => `${directory === "" ? "." : directory}/${name}`)
    .find((file) => host.isExecutable(file));
}

/** Why an interpreter cannot run the responder, once that has failed without a
 * word: it is too old, or no Python. Undefined when neither is so. */
export async function faultOf(
  interpreter: string,
  env: ProgramEnvironment,
  host: InterpreterHost,
): Promise<CommandError | undefined> {
  const answer = await ask(interpreter, env, host);
  if ("error" in answer) {
    return new CommandError(
      1,
      `Cannot run ${interpreter}`,
      remedy,
      answer.error,
    );
  }
  const version = /^HEADGATE (\S+)$/m.exec(answer.output)?.[1];
  if (version !== undefined) return faultOfVersion(interpreter, version);
  return new CommandError(
    1,
    `${interpreter} does not answer as Python does`,
    remedy,
    answer.output.trim() || undefined,
  );
}

/** Whether a version, as in "3.11.2", is too old. */
export function faultOfVersion(
  interpreter: string,
  version: string,
): CommandError | undefined {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > oldestMajor) return undefined;
  if (major === oldestMajor && minor >= oldestMinor) return undefined;
  return new CommandError(
    1,
    `${interpreter} is Python ${version}, which is too old`,
    remedy,
  );
}

/** What it prints of its version, with what it says of errors. Python 2 reads
 * this, too. */
async function ask(
  interpreter: string,
  env: ProgramEnvironment,
  host: InterpreterHost,
): Promise<{ output: string } | { error: string }> {
  const errors: string[] = [];
  let program: Program;
  try {
    program = await host.start({
      file: interpreter,
      args: [
        "-S",
        "-c",
        'import sys; print("HEADGATE %d.%d.%d" % sys.version_info[:3])',
      ],
      env,
      errors: (line) => void errors.push(line),
      sharesOutput: false,
    });
  } catch (error) {
    return { error: `${errorCode(error)} ${String(error)}`.trim() };
  }
  const timer = setTimeout(
    () => program.kill("SIGKILL", "group"),
    answerSeconds * 1000,
  );
  program.closeInput();
  try {
    const output = await readText(program);
    return { output: [output, ...errors].join("\n") };
  } finally {
    clearTimeout(timer);
  }
}

async function readText(program: Program): Promise<string> {
  const decoder = new TextDecoder();
  let output = "";
  for (;;) {
    const bytes = await program.read();
    if (bytes === null) break;
    if (output.length < longestAnswer) output += decoder.decode(bytes);
  }
  await program.ended;
  return output;
}
