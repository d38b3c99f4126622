/** Text that comes in chunks, passed on in whole lines. */
import type { Readable } from "node:stream";

/** A line that is longer is passed on as several. */
const longestLine = 65_536;
const tooLong = new RegExp(`[^\\n]{${longestLine}}(?=[^\\n])`, "g");

/** Gives the function what comes, in texts that end with a newline, also where
 * the stream's end has none. Resolves when the stream has closed. */
export function readLines(
  stream: Readable,
  take: (text: string) => void,
): Promise<void> {
  let partial = "";
  const takeWhole = (text: string) =>
    take(text.length > longestLine ? text.replace(tooLong, "$&\n") : text);
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const end = chunk.lastIndexOf("\n") + 1;
    if (end > 0) {
      takeWhole(partial + chunk.slice(0, end));
      partial = "";
    }
    partial += chunk.slice(end);
    while (partial.length > longestLine) {
      take(`${partial.slice(0, longestLine)}\n`);
      partial = partial.slice(longestLine);
    }
  });
  return new Promise((resolve) => {
    const ended = () => {
      if (partial !== "") takeWhole(`${partial}\n`);
      partial = "";
      resolve();
    };
    stream.once("end", ended).once("close", ended).on("error", ended);
  });
}
