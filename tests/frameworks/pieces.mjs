/** What the route `/stream` sends: pieces with a wait after each. */
export async function* pieces() {
  for (const piece of ["one,", "two,", "three"]) {
    yield piece;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
