/**
 * The program that Node and the package's `bin` start: joins this process,
 * the runtime's transport and the command line.
 *
 * @module
 */
import { detectTransport } from "../adapters/detect.ts";
import { processHost } from "../adapters/process_host.ts";
import { run } from "./cli.ts";

processHost.exit(await run(processHost.args, processHost, detectTransport));
