/** The command line of a script: options with their defaults, words beside them,
 * and a page that tells of both. */
import process from "node:process";
import { parseArgs } from "node:util";

/** Reads the arguments. `defaults` has every option that takes a value, with
 * undefined for those that have none; `switches` names the others. Shows the
 * page and exits where that is asked for, or an option is unknown. */
export function readFlags({ usage, defaults, switches }) {
  const options = { help: { type: "boolean", short: "h" } };
  for (const [name, value] of Object.entries(defaults)) {
    options[name] = { type: "string", default: value };
  }
  for (const name of switches) options[name] = { type: "boolean" };
  const refuse = (message) => {
    console.error(`${message}\n\n${usage}`);
    process.exit(2);
  };
  let parsed;
  try {
    parsed = parseArgs({ allowPositionals: true, options });
  } catch (error) {
    refuse(error.message);
  }
  const { values, positionals } = parsed;
  if (values.help) {
    console.log(usage);
    process.exit(0);
  }
  return {
    values,
    /** The words that are no options. */
    words: positionals,
    /** The value of an option that is a whole number within bounds. */
    whole(name, least, most) {
      const number = Number(values[name]);
      const fits = Number.isInteger(number) && number >= least &&
        number <= most;
      return fits
        ? number
        : refuse(`--${name} must be a whole number from ${least} to ${most}`);
    },
    /** Says what is wrong, shows the page and exits. */
    refuse,
  };
}
