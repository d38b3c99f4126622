/** A log that a test reads, or waits for. */
import type { LeveledLogger } from "../../src/log.ts";
import { Watch } from "./watch.ts";

/** Keeps every record, behind its level: "error It failed". */
export class LineLog implements LeveledLogger {
  readonly lines: string[] = [];
  readonly #watch = new Watch();

  debug(message: string): void {
    this.#keep("debug", message);
  }

  info(message: string): void {
    this.#keep("info", message);
  }

  warn(message: string): void {
    this.#keep("warn", message);
  }

  error(message: string): void {
    this.#keep("error", message);
  }

  critical(message: string): void {
    this.#keep("critical", message);
  }

  /** Those that are not of the level debug. */
  get told(): string[] {
    return this.lines.filter((line) => !line.startsWith("debug "));
  }

  /** The same, as a log has them. */
  get text(): string {
    return this.told.join("\n");
  }

  /** Settles with the first record that matches. Rejects after 25 seconds. */
  async until(pattern: RegExp): Promise<string> {
    const find = () => this.lines.find((line) => pattern.test(line));
    await this.#watch.until(
      () => find() !== undefined,
      String(pattern),
      () => this.lines.join("\n"),
    );
    return find() ?? "";
  }

  #keep(level: string, message: string): void {
    this.lines.push(`${level} ${message}`);
    this.#watch.changed();
  }
}
