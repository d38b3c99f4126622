/** The least server on `node:http`. Argument: the port. */
import { createServer } from "node:http";
import process from "node:process";

createServer((_request, response) => {
  response.setHeader("Content-Type", "text/plain");
  response.end("Hello, World!");
}).listen(Number(process.argv[2]), "127.0.0.1");
