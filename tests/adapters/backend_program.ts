/** A program that does what it is told by way of `backendHost`, and prints what
 * came of it, for the tests beside it. */
import process from "node:process";
import { backendHost } from "../../adapters/backend_host.ts";

const [what] = process.argv.slice(2);
if (what === "share") await shareOutput();
else if (what === "programs") await leavePrograms();
else leaveDirectory();
if (what !== "end") process.exit(0);

/** Starts another one that writes to our output and to its own. */
async function shareOutput(): Promise<void> {
  const program = await backendHost.start({
    file: "/bin/sh",
    args: ["-c", 'read line; echo to ours >&3; echo "to the pipe, $line"'],
    env: {},
    errors: "inherit",
    sharesOutput: true,
  });
  await program.write(new TextEncoder().encode("hello\n"));
  const said = await program.read();
  await program.ended;
  console.log(`it says: ${new TextDecoder().decode(said!).trimEnd()}`);
}

/** Starts programs that do not end by themselves, and leaves them behind: one
 * that can be asked to, and is, one that cannot be, and one that has ended when
 * what it has started cannot be. */
async function leavePrograms(): Promise<void> {
  const deaf = 'trap "" TERM; echo $$; while :; do sleep 1; done';
  const starting = [
    'trap "echo asked >&2; exit" TERM; echo $$; while :; do sleep 0.01; done',
    deaf,
    `/bin/sh -c '${deaf}' & wait`,
  ].map((text) =>
    backendHost.start({
      file: "/bin/sh",
      args: ["-c", text],
      env: {},
      errors: "inherit",
      sharesOutput: false,
    })
  );
  const programs = await Promise.all(starting);
  for (const program of programs) {
    const said = await program.read();
    console.log(new TextDecoder().decode(said!).trimEnd());
  }
  programs[2]!.kill("SIGTERM", "group");
  await programs[2]!.ended;
}

/** Makes a private directory and leaves it behind. */
function leaveDirectory(): void {
  const directory = backendHost.makePrivate();
  backendHost.writeText(`${directory}/file`, "something");
  console.log(directory);
}
