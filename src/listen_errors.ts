/**
 * Why nothing listens, for the user: what is wrong with which address, who
 * holds it, and what to try instead.
 *
 * @module
 */
import { formatBind, parseBind } from "./bind.ts";
import { CommandError, errorCode } from "./command_error.ts";
import type { Config } from "./config.ts";
import type { Host } from "./host.ts";
import { escapeForLog } from "./logger.ts";
import type { ListenOptions } from "./stream.ts";

/** A message for the failures that have a remedy; undefined for the rest.
 * `error` is the runtime's own, as a transport rejects with it. */
export function explainListen(
  error: unknown,
  config: Config,
  host: Host,
): CommandError | undefined {
  if (error instanceof CommandError) return error;
  const code = errorCode(error);
  const bind = failedBind(error, code, config, host);
  const where = bind.map(formatBind).join(" or ");
  if (error instanceof Error && error.name === "NotCapable") {
    return new CommandError(
      1,
      `Cannot listen on ${where}: Deno was not given the permission`,
      "Start it with -A, or with the flag that is shown.",
      error.message,
    );
  }
  switch (code) {
    case "EADDRINUSE":
      return portInUse(bind[0] ?? {}, host);
    case "EACCES":
    case "EPERM":
      return new CommandError(
        1,
        `No permission to listen on ${where}`,
        bind[0]?.path === undefined
          ? "Ports below 1024 are the administrator's. Try --bind :8000."
          : "Choose a path in a directory that you may write to.",
      );
    case "EADDRNOTAVAIL":
      return new CommandError(
        1,
        `Cannot listen on ${where}: this machine has no such address`,
        "Use 127.0.0.1 for this machine alone, 0.0.0.0 for every interface.",
      );
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_NONAME":
      return new CommandError(
        1,
        `Cannot listen on ${where}: the host name is unknown`,
        "Use an IP address of this machine, as in 127.0.0.1:8000.",
      );
    case "ENOENT":
    case "ENOTDIR":
      return new CommandError(
        1,
        `Cannot listen on ${where}: the directory does not exist`,
        "Make it, or choose another path.",
      );
    case "EINVAL":
    case "ENAMETOOLONG":
      return new CommandError(
        1,
        `Cannot listen on ${where}: the system refuses it (${code})`,
        "A socket's path has at most about 100 bytes.",
      );
    default:
      return undefined;
  }
}

/** Which of the addresses failed, where the error or the system tells. */
function failedBind(
  error: unknown,
  code: string,
  config: Config,
  host: Host,
): ListenOptions[] {
  const binds = config.bind.map(parseBind);
  if (binds.length < 2) return binds;
  const { port } = error as { port?: unknown };
  const failed = binds.filter((bind) =>
    typeof port === "number"
      ? bind.port === port
      : code === "EADDRINUSE" && bind.port !== undefined &&
        host.portHolder(bind.port) !== undefined
  );
  return failed.length === 0 ? binds : failed;
}

function portInUse(bind: ListenOptions, host: Host): CommandError {
  const { hostname, port } = bind;
  if (hostname === undefined || port === undefined) {
    return new CommandError(
      1,
      `${formatBind(bind)} is in use`,
      "Stop its server, or choose another path.",
    );
  }
  const holder = host.portHolder(port);
  if (holder?.pid === host.pid) {
    return new CommandError(
      1,
      `Port ${port} is in use by the application itself, which has begun to ` +
        "listen there while it was imported",
      "Leave its call of Deno.serve(), Bun.serve() or listen() out; listening " +
        "is done here.",
    );
  }
  const by = holder === undefined
    ? ""
    : ` by ${escapeForLog(holder.name)} (pid ${holder.pid})`;
  const next = formatBind({ hostname, port: port < 65_535 ? port + 1 : 8000 });
  return new CommandError(
    1,
    `Port ${port} is in use${by}`,
    `Try --bind ${next}.`,
  );
}
