/** The address of a file, to be imported. Most paths are their own; `node:url`
 * knows how to spell the others, and is loaded for them alone: a start does
 * without it. */
export async function fileUrl(
  path: string,
  cwd: () => string,
): Promise<string> {
  const absolute = path.startsWith("/") ? path : `${cwd()}/${path}`;
  if (/^\/[\w./-]+$/.test(absolute)) return new URL(`file://${absolute}`).href;
  const { pathToFileURL } = await import("node:url");
  return pathToFileURL(path).href;
}
