/** What is said of the workers together. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { Crew } from "../../src/daemon/crew.ts";
import type { ChildProcess } from "../../src/daemon/host.ts";
import { WorkerRecord } from "../../src/daemon/worker_record.ts";
import { only } from "../support/only.ts";

function worker(pid: number, seat: number, generation = 1): WorkerRecord {
  return new WorkerRecord(
    only<ChildProcess>({ pid }),
    { seat, generation, bootSeconds: 10, maxRequests: Infinity },
    0,
  );
}

/** As far as accepting, with a sign of life that tells of requests. */
function serve(worker: WorkerRecord, requests = 0): void {
  worker.load();
  worker.join(0);
  worker.serve(0);
  worker.beat = { type: "beat", requests, busy: 0, connections: 0, rss: 0 };
}

function crewOf(...workers: WorkerRecord[]): Crew {
  const crew = new Crew();
  for (const worker of workers) crew.add(worker);
  return crew;
}

test("Crew counts requests of those that have gone, too", () => {
  const [first, second] = [worker(11, 1), worker(12, 2)];
  const crew = crewOf(first, second);
  serve(first, 3);
  serve(second, 4);
  assertEquals(crew.requests, 7);
  crew.remove(first);
  assertEquals([crew.requests, crew.has(first)], [7, false]);
  crew.remove(second);
  assertEquals([crew.requests, crew.isEmpty], [7, true]);
});

test("Crew tells how far its workers are", () => {
  const [loads, waits, serves] = [worker(11, 3), worker(12, 2), worker(13, 1)];
  const crew = crewOf(loads, waits, serves);
  waits.load();
  serve(serves);
  assertEquals([crew.booting, crew.loaded(1), crew.serving(1)], [1, 1, 1]);
  assertEquals([crew.loaded(2), crew.serving(2)], [0, 0]);
  assertEquals(crew.isGrowing, true);
  crew.remove(loads);
  crew.remove(waits);
  assertEquals(crew.isGrowing, false);
});

test("Crew tells by seat who serves, and who can be relied on", () => {
  const [second, first] = [worker(11, 2), worker(12, 1)];
  const crew = crewOf(second, first);
  serve(second);
  serve(first);
  assertEquals(crew.servingPids(), [12, 11]);
  assertEquals(crew.reliableSeats(0), [1, 2]);
  assertEquals(crew.statuses(0).map(({ pid }) => pid), [12, 11]);
  second.abandon();
  assertEquals([crew.servingPids(), crew.reliableSeats(0)], [[12], [1]]);
});

test("Crew knows whom a worker comes after", () => {
  const [old, other, young] = [worker(11, 1), worker(12, 2), worker(13, 1, 2)];
  const crew = crewOf(old, other, young);
  assertEquals(crew.predecessorsOf(young), [old]);
  assertEquals(crew.predecessorsOf(old), []);
  old.leave(1, 0);
  assertEquals(crew.predecessorsOf(young), []);
  assertEquals(crew.isFilled(1, 1), false);
  assertEquals(crew.isFilled(1, 2), true);
});
