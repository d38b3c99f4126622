/** Text that comes in chunks, passed on in whole lines. */
import type { Readable } from "node:stream";

/** A line that is longer is passed on in pieces, a line each. */
const longestLine = 65_536;

/** Gives the function what comes, in texts that end with a newline, also where
 * the stream's end has none. Resolves when the stream has closed. */
export function readLines(
  stream: Readable,
  take: (text: string) => void,
): Promise<void> {
  let partial = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const end = chunk.lastIndexOf("\n") + 1;
    if (end > 0) {
      take(partial + chunk.slice(0, end));
      partial = "";
    }
    partial += chunk.slice(end);
    if (partial.length >= longestLine) flush();
  });
  const flush = () => {
    if (partial !== "") take(`${partial}\n`);
    partial = "";
  };
  return new Promise((resolve) => {
    const ended = () => {
      flush();
      resolve();
    };
    stream.once("end", ended).once("close", ended).on("error", ended);
  });
}
