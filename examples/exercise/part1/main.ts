/** Serves part 1: `main.ts [PORT]`, by default on port 8888. */
import process from "node:process";
import { serveHello } from "./server.ts";

const { address } = await serveHello(Number(process.argv[2] ?? 8888));
console.log(`Serving HTTP on port ${address.port} ...`);
