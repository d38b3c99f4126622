/** SIGKILL of a worker: what may be lost is what it had, and nothing else. */
import { connectionsTo, signal, socketsOf } from "../processes.mjs";
import { evenly, settled, underLoad } from "./lifecycle.mjs";

export const name = "kill";
export const title = "5 times SIGKILL of a worker";
const times = 5;

export async function measure(stage) {
  const { workers } = stage.options;
  /** The connections of the workers that were killed. */
  const had = new Set();
  let replaced = 0;
  const result = await underLoad(stage, async (program, load) => {
    await evenly(load, stage, times, async () => {
      const [pid] = await program.workers();
      // Stopped first, so that the account is exact.
      signal(pid, "SIGSTOP");
      const sockets = socketsOf(pid);
      for (const [peer, inode] of connectionsTo(program.port)) {
        if (sockets.has(inode)) had.add(peer);
      }
      signal(pid, "SIGKILL");
      const fresh = await settled(async () => {
        const now = await program.workers();
        return now.length === workers && !now.includes(pid);
      });
      if (fresh) replaced++;
    });
    return [{
      what: "workers replaced",
      figure: replaced,
      goal: String(times),
      met: replaced === times,
    }];
  });
  return { ...result, checks: judge(result, had) };
}

/** Failures of others' connections in place of all failures. */
function judge({ tally, checks }, had) {
  const failures = tally.failures;
  const others = failures.filter(({ connection }) => !had.has(connection));
  const [failed, ...rest] = checks;
  // Only the first are kept; more than those have failed for another reason.
  const known = failures.length === tally.failed;
  return [
    {
      what: "failed requests that the killed workers did not have",
      figure: known ? others.length : tally.failed,
      detail: failed.detail,
      goal: "0",
      met: known && others.length === 0,
    },
    {
      what: "failed requests of the killed workers",
      figure: failures.length - others.length,
      goal: `${had.size}, their connections, or less`,
      met: failures.length - others.length <= had.size,
    },
    ...rest,
  ];
}
