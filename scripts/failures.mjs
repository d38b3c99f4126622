/**
 * Tells what failed in a run of the tests, in so few lines that they still
 * stand at the end of a log of which only the end was kept.
 */

/** How many lines the failures of a run have between them. */
const room = 18;
const mostTests = 10;
const mostLinesEach = 6;
const widest = 200;

/** What failed on one runtime: the tests that its JUnit `report` names, and what
 * its `output`, without colours, tells of errors outside every test. Where a
 * run has failed and neither says why, its last lines stand for it. */
export function failuresOf(runtime, ok, report, output) {
  if (ok) return [];
  const failures = [
    ...failedTests(report),
    ...errorsOutside(output),
  ];
  if (failures.length === 0) {
    failures.push({ where: "in no test", text: lastLines(output) });
  }
  return failures.map((failure) => ({ runtime, ...failure }));
}

/** One paragraph for each of the first failures, which share the room. */
export function tellFailures(failures) {
  const told = failures.slice(0, mostTests);
  const share = Math.floor(room / told.length) - 1;
  const each = Math.min(mostLinesEach, Math.max(1, share));
  const lines = told.flatMap(({ runtime, where, text }) => [
    narrow(`FAILED on ${runtime}: ${where}`),
    ...significant(text).slice(0, each).map((line) => narrow(`    ${line}`)),
  ]);
  const more = failures.length - told.length;
  if (more > 0) lines.push(`and ${more} more; see build/reports/`);
  return lines;
}

const attributeList = String.raw`((?:\s+[\w-]+="[^"]*")*)`;
const testcase = new RegExp(
  `<testcase${attributeList}>([^]*?)</testcase>`,
  "g",
);
const failure = new RegExp(`<(?:failure|error)${attributeList}>([^<]*)<`);

/** The failed tests of a report. Every runtime nests a <failure> or an <error>
 * in a <testcase>, and escapes each "<" that is not an element's. */
function failedTests(report) {
  return [...report.matchAll(testcase)].flatMap(([, attributes, content]) => {
    const found = failure.exec(content);
    if (found === null) return [];
    const text = unwrapped(unescaped(found[2]));
    const name = attribute(attributes, "name");
    const file = fileOf(attributes, `${name} ${text}`);
    return [{ where: file === "" ? name : `${file}: ${name}`, text }];
  });
}

/** Deno gives the file as the class, Bun and Node 24 as the file. Before that
 * Node gives none, but the stack has it, and the name of a file that failed as
 * a whole. */
function fileOf(attributes, text) {
  const named = attribute(attributes, "file") ||
    attribute(attributes, "classname");
  const place = /tests\/[^\s:()]+_test\.m?[jt]s/;
  return (place.exec(named) ?? place.exec(text) ?? [""])[0]
    .replace(/\.mjs$/, ".ts");
}

/** What Node wraps a failure in stands before and behind it. */
function unwrapped(text) {
  return text.replace(/^[^]*?code: 'ERR_TEST_FAILURE',[^]*?cause: /, "");
}

/** Errors that a runtime met while no test ran: a file that does not load, for
 * instance. */
function errorsOutside(output) {
  const bun = /^# Unhandled error between tests\n-+\n([^]*?)\n-{9,}$/gm;
  const deno = /^(\S+ \(uncaught error\)\nerror: [^]*?)(?=\n\n)/gm;
  const node = /^(?:file|node):\S+\n[^\n]*\n *\^+\n\n([^]*?)\n\nNode\.js v/gm;
  return [bun, deno, node].flatMap((pattern) =>
    [...output.matchAll(pattern)].map(([, text]) => (
      { where: "outside every test", text: withoutExcerpt(text) }
    ))
  );
}

/** Bun shows the lines of the source above an error. */
function withoutExcerpt(text) {
  return text.replace(/^(?:\d+ \|.*\n)+ *\^\n/, "");
}

function lastLines(output) {
  return significant(output).slice(-mostLinesEach).join("\n");
}

/** Lines that say something: no blank ones, and no frames of a runtime's own. */
function significant(text) {
  return text.split("\n").filter((line) =>
    line.trim() !== "" && !/^\s*at .*\b(?:node|ext):/.test(line) &&
    line.trim() !== "at native code"
  );
}

function attribute(attributes, name) {
  const found = new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes);
  return unescaped(found?.[1] ?? "");
}

const entities = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/** Node before 24 escapes a quotation mark in an attribute twice. */
function unescaped(text) {
  const once = text.replace(
    /&(?:#(\d+)|#x([\da-f]+)|(\w+));/gi,
    (whole, decimal, hex, name) =>
      name === undefined
        ? String.fromCodePoint(decimal ?? parseInt(hex, 16))
        : entities[name] ?? whole,
  );
  return once.replaceAll("&quot;", '"');
}

function narrow(line) {
  return line.length > widest ? `${line.slice(0, widest - 1)}…` : line;
}
