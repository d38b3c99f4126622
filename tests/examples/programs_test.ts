/** The commands that the examples give, run as a reader would run them. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { bundle } from "../support/bundle.ts";
import { Watch } from "../support/watch.ts";
import { exchangeSlowly, text } from "./fixture.ts";

const onNode = process.versions["deno"] === undefined &&
  process.versions["bun"] === undefined;
/** On Node, `dist/cli.js` is made of the latter. */
const gatewayProgram = onNode ? "src/bin.ts" : "mod.ts";
const exercise = "examples/exercise";
const get = "GET /hello?a=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/** A program of ours in a process of its own, on this runtime. */
class Program {
  /** All that it has printed. */
  output = "";
  /** Its exit code, or the signal that ended it, once it has ended. */
  exit: number | string | undefined;

  readonly #child: ChildProcess;
  readonly #watch = new Watch();

  constructor(file: string, args: readonly string[]) {
    const run = process.versions["deno"] === undefined ? [] : ["run", "-A"];
    this.#child = spawn(process.execPath, [...run, file, ...args], {
      env: { ...process.env, NO_COLOR: "1" },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text) => {
        this.output += text;
        this.#watch.changed();
      });
    }
    this.#child.on("close", (code, signal) => {
      this.exit = code ?? signal ?? "unknown";
      this.#watch.changed();
    });
  }

  /** Settles when `condition` holds. Rejects after 25 seconds. */
  until(condition: () => boolean, what: string): Promise<void> {
    return this.#watch.until(
      condition,
      what,
      () => `exit=${this.exit} output=${this.output}`,
    );
  }

  /** The port that it says it listens on. */
  async port(): Promise<number> {
    const port = /(?:port |127\.0\.0\.1:)(\d+)/;
    await this.until(() => port.test(this.output), "its port");
    return Number(port.exec(this.output)![1]);
  }

  async stop(): Promise<void> {
    if (this.exit === undefined) this.#child.kill("SIGTERM");
    await this.until(() => this.exit !== undefined, "its end");
  }
}

type Compile = (file: string) => Promise<string>;

/** Gives `use` what turns a source file to one that this runtime can run: the
 * file itself, or for a Node that does not read TypeScript a bundle of it. */
async function compiling(use: (compile: Compile) => Promise<void>) {
  const { typescript } = process.features as { typescript?: unknown };
  if (!onNode || typescript) {
    return await use((file) => Promise.resolve(file));
  }
  const directory = await mkdtemp(join(tmpdir(), "headgate-"));
  try {
    await use((file) =>
      bundle(file, join(directory, `${basename(file, ".ts")}.mjs`))
    );
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Runs a program until `use` has settled. */
async function running(
  file: string,
  args: readonly string[],
  use: (program: Program) => Promise<void>,
): Promise<void> {
  const program = new Program(file, args);
  try {
    await use(program);
  } finally {
    await program.stop();
  }
}

async function ask(program: Program): Promise<string> {
  const address = { host: "127.0.0.1", port: await program.port() };
  return text(await exchangeSlowly(address, get));
}

test("part 1 runs as a program", async () => {
  await compiling(async (compile) => {
    const main = await compile(`${exercise}/part1/main.ts`);
    await running(main, ["0"], async (program) => {
      assertEquals(await ask(program), "Hello, World!\n");
    });
  });
});

test("part 2 runs MODULE:CALLABLE, and logs in the exercise's format", async () => {
  await compiling(async (compile) => {
    const main = await compile(`${exercise}/part2/main.ts`);
    const app = await compile(`${exercise}/part2/wsgiapp.ts`);
    await running(main, [`${app}:app`, "0"], async (program) => {
      assertEquals(
        await ask(program),
        "Hello world from a simple WSGI application!\n",
      );
      const stamp = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} /;
      const sought = "[DEBUG] PATH_INFO=/hello QUERY_STRING=a=1";
      const lines = () => program.output.split("\n");
      await program.until(
        () => lines().some((line) => line.replace(stamp, "") === sought),
        sought,
      );
    });
  });
});

test("part 2 tells what is wrong with its argument", async () => {
  await compiling(async (compile) => {
    const main = await compile(`${exercise}/part2/main.ts`);
    const app = await compile(`${exercise}/part2/wsgiapp.ts`);
    const complaints = { nothing: "Usage: ", [`${app}:other`]: "No function" };
    for (const [argument, complaint] of Object.entries(complaints)) {
      await running(main, [argument, "0"], async (program) => {
        await program.until(() => program.exit !== undefined, "its end");
        assertEquals(program.exit, 2);
        assertStringIncludes(program.output, complaint);
      });
    }
  });
});

test("part 3: the gateway serves part 2's application to a crowd", async () => {
  await compiling(async (compile) => {
    const gateway = await compile(gatewayProgram);
    const app = await compile(`${exercise}/part2/wsgiapp.ts`);
    const client = await compile(`${exercise}/part3/client.ts`);
    const bind = ["--bind", "127.0.0.1:0"];
    await running(gateway, [`${app}:app`, ...bind], async (server) => {
      const port = String(await server.port());
      const crowd = ["--port", port, "--silent", "20", "--talking", "30"];
      await running(client, crowd, async (program) => {
        await program.until(() => program.exit !== undefined, "its end");
        assertMatch(program.output, /^20 silent; 30 x 200 in \d+\.\d s\n$/);
      });
    });
  });
});

test("every small example runs by the commands that it gives", async () => {
  const readme = await readFile("examples/README.md", "utf8");
  const names = (await readdir("examples")).filter((name) =>
    name.endsWith(".ts")
  );
  assertEquals(names.length, 7);
  await compiling(async (compile) => {
    const gateway = await compile(gatewayProgram);
    for (const name of names) {
      const file = `examples/${name}`;
      const source = await readFile(file, "utf8");
      // One is what has a fetch, and needs no name.
      const app = name === "mounted.ts" ? "" : ":app";
      for (const command of ["deno run -A mod.ts", "bun run mod.ts"]) {
        assertStringIncludes(source, `    ${command} ${file}${app}\n`);
      }
      assertStringIncludes(source, `    node dist/cli.js ${file}${app} `);
      assertStringIncludes(readme, `[${name}](${name})`);
      const args = [`${await compile(file)}${app}`, "--bind", "127.0.0.1:0"];
      await running(gateway, args, async (program) => {
        const response = await fetch(
          `http://127.0.0.1:${await program.port()}`,
        );
        await response.arrayBuffer();
        const rootless = ["upload.ts", "mounted.ts"];
        assertEquals(response.ok, !rootless.includes(name));
      });
    }
  });
});
