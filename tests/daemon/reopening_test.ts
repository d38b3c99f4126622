/** What is told of log files that were not reopened. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { problemsOf, reopenOutcome } from "../../src/daemon/reopening.ts";

test("problemsOf() tells a file that several could not open once", () => {
  const failure = { path: "/log/a.log", code: "ENOENT" };
  const problems = problemsOf([failure], {
    failures: [
      { by: "worker 1 (pid 11)", failure: { ...failure } },
      { by: "worker 1 (pid 11)", failure: { ...failure, path: "/log/b.log" } },
      { by: "worker 2 (pid 12)", failure: { ...failure } },
      { by: "worker 3 (pid 13)", failure: { ...failure, code: "EACCES" } },
    ],
    silent: ["worker 4 (pid 14)"],
  });
  assertEquals(problems, [
    "/log/a.log could not be opened again by the arbiter, worker 1 (pid 11), " +
    "worker 2 (pid 12) (ENOENT). Lines go on to the file that was there. " +
    "Make the directory /log, then reopen again.",
    "/log/b.log could not be opened again by worker 1 (pid 11) (ENOENT). " +
    "Lines go on to the file that was there. Make the directory /log, then " +
    "reopen again.",
    "/log/a.log could not be opened again by worker 3 (pid 13) (EACCES). " +
    "Lines go on to the file that was there. Let the user that this runs as " +
    "write to it, and enter its directory, then reopen again.",
    "No answer from worker 4 (pid 14) in 5 s. Until its event loop turns, its " +
    "lines go on to the files that were there. Leave those as they are until " +
    "then, or end that process.",
  ]);
});

test("reopenOutcome() is done where there is no problem", () => {
  assertEquals(problemsOf([], { failures: [], silent: [] }), []);
  assertEquals(reopenOutcome([]), { ok: true, message: "Log files reopened" });
  assertEquals(reopenOutcome(["One.", "Two."]), {
    ok: false,
    message: "Not all log files were reopened:\nOne.\nTwo.",
  });
});
