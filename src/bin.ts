/**
 * The program that Node and the package's `bin` start: joins this process,
 * the runtime's transport and the command line.
 *
 * @module
 */
import {
  detectProcessHost,
  detectTransport,
  loadDaemonHost,
  loadDevHost,
} from "../adapters/detect.ts";
import { findMemoryCount, peek } from "../adapters/memory_count.ts";
import { countMemoryBy } from "./apps/memory_count.ts";
import { run } from "./cli.ts";
import { useTimers } from "./later.ts";

countMemoryBy(findMemoryCount, peek);
const host = await detectProcessHost();
if (host.later !== undefined) useTimers(host.later);
host.exit(
  await run(host.args, {
    host,
    transport: detectTransport,
    daemonHost: loadDaemonHost,
    devHost: loadDevHost,
  }),
);
