/** Completion scripts for shells, made from the tables of options and commands.
 * Pure. */
import { CommandError } from "./command_error.ts";
import { commandTable } from "./commands.ts";
import { nearest } from "./nearest.ts";
import { type OptionEntry, optionTable } from "./options.ts";

/** The shells that there is a script for. */
export const shells = ["bash", "zsh", "fish"] as const;

/** The script for a shell. Throws `CommandError` for one that is not known. */
export function completionScript(shell: string | undefined): string {
  switch (shell) {
    case "bash":
      return bash();
    case "zsh":
      return zsh();
    case "fish":
      return fish();
  }
  const meant = nearest(shell ?? "", shells);
  throw new CommandError(
    2,
    shell === undefined
      ? "completions needs the name of a shell"
      : `There are no completions for "${shell}"`,
    meant === undefined
      ? `Write one of ${shells.join(", ")}.`
      : `Did you mean headgate completions ${meant}?`,
  );
}

/** What an option's value is, as far as a shell can help. */
function valueKind({ value }: OptionEntry): "file" | "directory" | "other" {
  if (value === "FILE") return "file";
  return value === "DIR" ? "directory" : "other";
}

const words = commandTable.map(({ name }) => name).join(" ");

function bash(): string {
  const flags = optionTable.flatMap(({ name, short }) =>
    short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`]
  ).join(" ");
  const of = (kind: string) =>
    optionTable.filter((option) => option.value && valueKind(option) === kind)
      .flatMap(({ name, short }) =>
        short === undefined ? [`--${name}`] : [`--${name}`, `-${short}`]
      ).join("|");
  return `# bash completion for headgate
_headgate() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  case $before in
    ${of("file")}) COMPREPLY=($(compgen -f -- "$word")); return ;;
    ${of("directory")}) COMPREPLY=($(compgen -d -- "$word")); return ;;
    ${of("other")}) return ;;
  esac
  if [[ $word == -* ]]; then
    COMPREPLY=($(compgen -W "${flags}" -- "$word"))
  elif ((COMP_CWORD == 1)); then
    COMPREPLY=($(compgen -W "${words}" -- "$word") $(compgen -f -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}
complete -o filenames -F _headgate headgate
`;
}

function zsh(): string {
  const options = optionTable.map((option) => {
    const { name, short, value, summary, repeatable } = option;
    const kind = valueKind(option);
    const action = kind === "file"
      ? "_files"
      : kind === "directory"
      ? "_files -/"
      : " ";
    const tail = value === undefined ? "" : `:${value}:${action}`;
    const star = repeatable ? "*" : "";
    const what = `[${quoteZsh(summary)}]${tail}`;
    const long = `  '${star}--${name}${value === undefined ? "" : "="}${what}'`;
    return short === undefined
      ? long
      : `${long} \\\n  '${star}-${short}${
        value === undefined ? "" : "+"
      }${what}'`;
  });
  const commands = commandTable.map(({ name, summary }) =>
    `    '${name}:${quoteZsh(summary)}'`
  );
  return `#compdef headgate
_headgate_first() {
  local -a commands=(
${commands.join("\n")}
  )
  _describe command commands
  _files
}
_arguments \\
${options.join(" \\\n")} \\
  '1:application or command:_headgate_first' \\
  '*:file:_files'
`;
}

function quoteZsh(text: string): string {
  return text.replace(/[\\[\]:]/g, "\\$&").replaceAll("'", "'\\''");
}

function fish(): string {
  const first = "not __fish_seen_subcommand_from " + words;
  const commands = commandTable.map(({ name, summary }) =>
    `complete -c headgate -n '${first}' -a ${name} -d ${quoteFish(summary)}`
  );
  const options = optionTable.map((option) => {
    const { name, short, value, summary } = option;
    const kind = valueKind(option);
    const action = value === undefined
      ? ""
      : kind === "file"
      ? " -r -F"
      : kind === "directory"
      ? " -x -a '(__fish_complete_directories)'"
      : " -x";
    const letter = short === undefined ? "" : ` -s ${short}`;
    return `complete -c headgate -l ${name}${letter}${action} -d ${
      quoteFish(summary)
    }`;
  });
  return `# fish completion for headgate\n${
    [...commands, ...options].join("\n")
  }\n`;
}

function quoteFish(text: string): string {
  return `'${text.replace(/[\\']/g, "\\$&")}'`;
}
