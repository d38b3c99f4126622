/** Whoever is there at the moment, in the order of their coming.
 *
 * It is a list, not a `Set`: V8's sets grow into new tables, and an old one
 * holds on to what was in it, and to the table that came after it. Of those who
 * come and go all the time, everybody would outlive the collector's quick
 * rounds. Whoever leaves this list holds on to nobody. */

/** Who can be in a roster; in one at a time. All of it is the roster's
 * business, and undefined at first. */
export interface Member<M> {
  /** Whose it is. */
  roster: object | undefined;
  /** Who came before. */
  earlier: M | undefined;
  /** Who came next. */
  later: M | undefined;
}

/** Who is there. */
export class Roster<M extends Member<M>> implements Iterable<M> {
  #first: M | undefined;
  #last: M | undefined;
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Takes in a member of no roster. */
  add(member: M): void {
    member.roster = this;
    member.earlier = this.#last;
    if (this.#last === undefined) this.#first = member;
    else this.#last.later = member;
    this.#last = member;
    this.#size++;
  }

  /** Lets a member go; false where it was not there. */
  delete(member: M): boolean {
    if (member.roster !== this) return false;
    const { earlier, later } = member;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    member.roster = member.earlier = member.later = undefined;
    this.#size--;
    return true;
  }

  /** All who are there, as they came. Whoever was told last may leave before
   * the next is told. */
  *[Symbol.iterator](): Generator<M, void> {
    let next = this.#first;
    while (next !== undefined) {
      const member = next;
      next = member.later;
      yield member;
    }
  }
}
