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
import { run } from "./cli.ts";

const host = await detectProcessHost();
host.exit(
  await run(host.args, {
    host,
    transport: detectTransport,
    daemonHost: loadDaemonHost,
    devHost: loadDevHost,
  }),
);
