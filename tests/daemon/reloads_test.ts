import { test } from "node:test";
import { assertEquals } from "@std/assert";
import type { Outcome } from "../../src/daemon/protocol.ts";
import { Reloads } from "../../src/daemon/reloads.ts";
import { silentLogger } from "../../src/logger.ts";

/** Reloads that end when they are told to, each with its number. */
class Workshop {
  begun = 0;
  readonly said: string[] = [];
  readonly reloads: Reloads;
  #end: (outcome: Outcome) => void = () => {};

  constructor() {
    const log = {
      ...silentLogger,
      critical() {},
      info: (message: unknown) => void this.said.push(String(message)),
    };
    this.reloads = new Reloads(log, () => {
      this.begun++;
      return new Promise((resolve) => this.#end = resolve);
    });
  }

  end(): void {
    this.#end({ ok: true, message: `reload ${this.begun}` });
  }
}

test("Reloads begins at once where none runs", async () => {
  const workshop = new Workshop();
  const outcome = workshop.reloads.ask("SIGHUP");
  assertEquals(workshop.begun, 1);
  workshop.end();
  assertEquals((await outcome).message, "reload 1");
  assertEquals(workshop.said, ["SIGHUP: reloading"]);
});

test("Reloads makes one more for all who ask meanwhile", async () => {
  const workshop = new Workshop();
  const first = workshop.reloads.ask();
  const later = [workshop.reloads.ask(), workshop.reloads.ask("SIGHUP")];
  assertEquals(workshop.begun, 1);
  workshop.end();
  assertEquals((await first).message, "reload 1");
  assertEquals(workshop.begun, 2);
  workshop.end();
  for (const outcome of later) {
    assertEquals((await outcome).message, "reload 2");
  }
  assertEquals(workshop.said, ["SIGHUP: reloading", "Once more: reloading"]);
});

test("Reloads begins anew after the last one has ended", async () => {
  const workshop = new Workshop();
  for (const message of ["reload 1", "reload 2"]) {
    const outcome = workshop.reloads.ask();
    workshop.end();
    assertEquals((await outcome).message, message);
  }
});
