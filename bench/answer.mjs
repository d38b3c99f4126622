/**
 * Asks a server what the benchmark will ask it, byte for byte, and reads the
 * answers: a server that answers wrongly is not timed.
 */
import { Buffer } from "node:buffer";
import { connect } from "node:net";

const deadlineMs = 10_000;

/** Throws unless the server on `port` answers `work` as it should. */
export async function checkAnswers(port, work) {
  const { request, atOnce, answer } = work;
  const bytes = atOnce === 1
    ? request
    : Buffer.concat(Array(atOnce).fill(request));
  const answers = await ask(port, bytes, { count: atOnce });
  for (const { status, type, content } of answers) {
    if (status !== 200) throw new Error(`answers with status ${status}`);
    if (!type.startsWith(answer.type)) {
      throw new Error(`answers with content type "${type}"`);
    }
    if (!content.equals(answer.content)) {
      throw new Error(
        `answers with the wrong content (${content.length} bytes, ` +
          `expected ${answer.content.length})`,
      );
    }
  }
}

/** Sends bytes and reads `count` answers. */
function ask(port, bytes, { count }) {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const answers = [];
    const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
    const fail = (message) => {
      socket.destroy();
      reject(new Error(message));
    };
    socket.setTimeout(deadlineMs, () => fail("does not answer"));
    socket.on("error", (error) => fail(error.message));
    socket.on("close", () => fail("closes the connection"));
    socket.on("data", (piece) => {
      received = Buffer.concat([received, piece]);
      for (let read; (read = readAnswer(received)) !== undefined;) {
        answers.push(read);
        received = received.subarray(read.size);
      }
      if (answers.length < count) return;
      resolve(answers);
      socket.destroy();
    });
  });
}

/** The first answer in `bytes` and its size; undefined while it is not whole. */
function readAnswer(bytes) {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [statusLine, ...lines] = bytes.toString("latin1", 0, end).split("\r\n");
  const fields = new Map(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  const after = bytes.subarray(end + 4);
  const framed = fields.has("transfer-encoding")
    ? readChunks(after)
    : readCounted(after, Number(fields.get("content-length") ?? 0));
  if (framed === undefined) return undefined;
  return {
    status: Number(statusLine.split(" ")[1]),
    type: fields.get("content-type") ?? "",
    content: framed.content,
    size: end + 4 + framed.size,
  };
}

function readCounted(bytes, size) {
  if (bytes.length < size) return undefined;
  return { content: bytes.subarray(0, size), size };
}

function readChunks(bytes) {
  const chunks = [];
  for (let at = 0;;) {
    const end = bytes.indexOf("\r\n", at);
    if (end < 0) return undefined;
    const size = parseInt(bytes.toString("latin1", at, end), 16);
    const next = end + 2 + size + 2;
    if (bytes.length < next) return undefined;
    if (size === 0) return { content: Buffer.concat(chunks), size: next };
    chunks.push(bytes.subarray(end + 2, end + 2 + size));
    at = next;
  }
}
