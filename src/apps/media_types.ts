/** The media type of a file, by the end of its name. Pure. */

/** What a file is. */
export interface MediaType {
  /** Its Content-Type. */
  readonly contentType: string;
  /** Whether a content coding makes it smaller. */
  readonly compressible: boolean;
}

/** By extension. Text is UTF-8, as all text has been for a while. */
const text: Readonly<Record<string, string>> = {
  appcache: "text/cache-manifest",
  cjs: "text/javascript",
  css: "text/css",
  csv: "text/csv",
  htm: "text/html",
  html: "text/html",
  ics: "text/calendar",
  js: "text/javascript",
  log: "text/plain",
  markdown: "text/markdown",
  md: "text/markdown",
  mjs: "text/javascript",
  text: "text/plain",
  txt: "text/plain",
  vcf: "text/vcard",
  vtt: "text/vtt",
  yaml: "application/yaml",
  yml: "application/yaml",
};

/** Formats that say their encoding themselves, and are not compressed. */
const structured: Readonly<Record<string, string>> = {
  atom: "application/atom+xml",
  bmp: "image/bmp",
  doc: "application/msword",
  eot: "application/vnd.ms-fontobject",
  geojson: "application/geo+json",
  gltf: "model/gltf+json",
  ico: "image/vnd.microsoft.icon",
  json: "application/json",
  jsonld: "application/ld+json",
  map: "application/json",
  otf: "font/otf",
  rss: "application/rss+xml",
  rtf: "application/rtf",
  svg: "image/svg+xml",
  tar: "application/x-tar",
  ttf: "font/ttf",
  wasm: "application/wasm",
  webmanifest: "application/manifest+json",
  xhtml: "application/xhtml+xml",
  xml: "application/xml",
};

/** Formats that are compressed already. */
const packed: Readonly<Record<string, string>> = {
  "7z": "application/x-7z-compressed",
  aac: "audio/aac",
  apng: "image/apng",
  avif: "image/avif",
  br: "application/x-brotli",
  bz2: "application/x-bzip2",
  docx:
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  epub: "application/epub+zip",
  flac: "audio/flac",
  gif: "image/gif",
  glb: "model/gltf-binary",
  gz: "application/gzip",
  jpeg: "image/jpeg",
  jpg: "image/jpeg",
  jxl: "image/jxl",
  m4a: "audio/mp4",
  mov: "video/quicktime",
  mp3: "audio/mpeg",
  mp4: "video/mp4",
  odt: "application/vnd.oasis.opendocument.text",
  ogg: "audio/ogg",
  ogv: "video/ogg",
  opus: "audio/ogg",
  pdf: "application/pdf",
  png: "image/png",
  pptx:
    "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  tif: "image/tiff",
  tiff: "image/tiff",
  wav: "audio/wav",
  weba: "audio/webm",
  webm: "video/webm",
  webp: "image/webp",
  woff: "font/woff",
  woff2: "font/woff2",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  xz: "application/x-xz",
  zip: "application/zip",
  zst: "application/zstd",
};

const unknown: MediaType = {
  contentType: "application/octet-stream",
  compressible: false,
};

const byExtension: ReadonlyMap<string, MediaType> = new Map([
  ...entries(text, "; charset=utf-8", true),
  ...entries(structured, "", true),
  ...entries(packed, "", false),
]);

function entries(
  types: Readonly<Record<string, string>>,
  parameter: string,
  compressible: boolean,
): [string, MediaType][] {
  return Object.entries(types).map(([extension, type]) => [
    extension,
    { contentType: type + parameter, compressible },
  ]);
}

/** The media type of a file of this name; octets where nobody knows. */
export function mediaTypeOf(name: string): MediaType {
  const dot = name.lastIndexOf(".");
  if (dot < 0) return unknown;
  return byExtension.get(name.slice(dot + 1).toLowerCase()) ?? unknown;
}
