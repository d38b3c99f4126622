import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { test } from "node:test";
import { CommandError } from "../src/command_error.ts";
import { readCommandWords } from "../src/command_words.ts";

test("readCommandWords() tells a command from an application", () => {
  const none = { app: undefined, count: undefined };
  assertEquals(readCommandWords([], []), { ...none, task: "serve" });
  assertEquals(readCommandWords(["app.ts"], ["workers", "check-config"]), {
    ...none,
    task: "serve",
    app: "app.ts",
  });
  assertEquals(readCommandWords(["./start"], []), {
    ...none,
    task: "serve",
    app: "./start",
  });
  assertEquals(readCommandWords(["start"], []), { ...none, task: "start" });
  assertEquals(readCommandWords(["start", "app.ts:app"], ["workers"]), {
    ...none,
    task: "start",
    app: "app.ts:app",
  });
  assertEquals(readCommandWords(["scale", "4"], ["pidfile"]), {
    ...none,
    task: "scale",
    count: 4,
  });
  assertEquals(readCommandWords(["status"], ["json", "config"]), {
    ...none,
    task: "status",
  });
  assertEquals(readCommandWords(["stop"], ["quick", "chdir"]), {
    ...none,
    task: "stop",
  });
});

const refused: [string[], string[], what: string, how: string][] = [
  [["stop"], ["workers"], "stop takes no --workers", "headgate start"],
  [["reload"], ["json"], "reload takes no --json", "headgate status"],
  [["start"], ["quick"], "start takes no --quick", "headgate stop"],
  [["app.ts"], ["json"], "--json is no option of serving", "headgate status"],
  [["stop", "app.ts"], [], 'takes no application, and "app.ts"', "--pidfile"],
  [["start", "a.ts", "b.ts"], [], '"b.ts" is a second one', "--help"],
  [["a.ts", "b.ts"], [], '"b.ts" is a second one', "--help"],
  [["scale"], [], "needs the number of workers", "headgate scale 4"],
  [["scale", "0"], [], '"0" is not a number from 1', "headgate scale 4"],
  [["scale", "1001"], [], "1 to 1000", "headgate scale 4"],
  [["scale", "+0"], [], '"+0" is not a number', "headgate scale +1"],
  [["scale", "1+"], [], '"1+" is not a number', "headgate scale 4"],
  [["scale", "1", "2"], [], '"2" is another word', "headgate scale 4"],
  [["strat", "app.ts"], [], "No command strat", "Did you mean headgate start?"],
  [["realod"], [], "No command realod", "Did you mean headgate reload?"],
];

for (const [words, given, what, how] of refused) {
  test(`readCommandWords() refuses ${words.join(" ")} ${given}`, () => {
    const error = assertThrows(
      () => readCommandWords(words, given),
      CommandError,
    );
    assertEquals(error.exitCode, 2);
    assertStringIncludes(error.message, what);
    assertStringIncludes(error.remedy, how);
  });
}

test("a word that is near no command is taken for an application", () => {
  for (const word of ["", "application", "app:app", "stop.ts"]) {
    assertEquals(readCommandWords([word], []).app, word);
  }
});

test("readCommandWords() takes a number of workers, or how many more", () => {
  const line = { task: "scale" as const, app: undefined };
  const read = (text: string) => readCommandWords(["scale", text], []);
  assertEquals(read("4"), { ...line, count: 4 });
  assertEquals(read("+2"), { ...line, count: undefined, more: 2 });
  assertEquals(read("-1"), { ...line, count: undefined, more: -1 });
});
