/** Those who are there: each once, whoever leaves, and whenever. */
import { assertEquals } from "@std/assert";
import { test } from "node:test";
import { type Member, Roster } from "../src/roster.ts";

class Guest implements Member<Guest> {
  roster: object | undefined = undefined;
  earlier: Guest | undefined = undefined;
  later: Guest | undefined = undefined;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

function rosterOf(...names: string[]): [Roster<Guest>, Guest[]] {
  const roster = new Roster<Guest>();
  const guests = names.map((name) => new Guest(name));
  for (const guest of guests) roster.add(guest);
  return [roster, guests];
}

const namesIn = (roster: Roster<Guest>) =>
  [...roster].map(({ name }) => name).join("");

test("Roster has everybody who came and has not left, in order", () => {
  const [roster, [a, b, c, d]] = rosterOf("a", "b", "c", "d");
  assertEquals([namesIn(roster), roster.size], ["abcd", 4]);
  assertEquals(roster.delete(b!), true); // one in the middle
  assertEquals([namesIn(roster), roster.size], ["acd", 3]);
  assertEquals(roster.delete(a!), true); // the first
  assertEquals(roster.delete(d!), true); // the last
  assertEquals([namesIn(roster), roster.size], ["c", 1]);
  roster.add(a!);
  assertEquals([namesIn(roster), roster.size], ["ca", 2]);
  assertEquals([roster.delete(c!), roster.delete(a!)], [true, true]);
  assertEquals([namesIn(roster), roster.size], ["", 0]);
});

test("Roster.delete() tells who was not there", () => {
  const [roster, [a]] = rosterOf("a", "b");
  const [other, [c]] = rosterOf("c");
  assertEquals(roster.delete(c!), false);
  assertEquals(roster.delete(a!), true);
  assertEquals(roster.delete(a!), false);
  assertEquals([namesIn(roster), namesIn(other)], ["b", "c"]);
});

test("Roster: who has left holds on to nobody", () => {
  const [roster, [, b]] = rosterOf("a", "b", "c");
  roster.delete(b!);
  assertEquals([b!.earlier, b!.later, b!.roster], [
    undefined,
    undefined,
    undefined,
  ]);
});

test("Roster tells each once, though it leaves at that", () => {
  const [roster] = rosterOf("a", "b", "c", "d", "e");
  let told = "";
  for (const guest of roster) {
    told += guest.name;
    if ("abde".includes(guest.name)) roster.delete(guest);
  }
  assertEquals([told, namesIn(roster)], ["abcde", "c"]);
});
