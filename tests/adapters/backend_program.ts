/** A program that does what it is told by way of `backendHost`, and prints what
 * came of it, for the tests beside it. */
import process from "node:process";
import { backendHost } from "../../adapters/backend_host.ts";

const [what] = process.argv.slice(2);
if (what === "share") await shareOutput();
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

/** Makes a private directory and leaves it behind. */
function leaveDirectory(): void {
  const directory = backendHost.makePrivate();
  backendHost.writeText(`${directory}/file`, "something");
  console.log(directory);
}
