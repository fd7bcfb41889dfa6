/**
 * Builds the pages: bundles gateway/web into gateway/static.
 *
 * Scripts, styles and images get their content's hash into their names, so that
 * they may be cached for ever; the HTML files, which must not be, point at them.
 * The same sources give the same bytes.
 */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const PAGES = ['index.html', 'host.html', 'viewer.html', 'meet.html', 'sessions.html', 'replay.html', '404.html'];
const ENTRIES = [
  'start.js', 'host.js', 'viewer.js', 'meet.js', 'replay/sessions.js', 'replay/replay.js',
  'style.css', 'replay/replay.css', 'assets/icons.svg', 'assets/favicon.svg',
];
const PREFIX = '/static/';

const root = fileURLToPath(new URL('../..', import.meta.url));
const web = join(root, 'gateway/web');
const out = join(root, 'gateway/static');

await rm(out, { recursive: true, force: true });
await mkdir(out, { recursive: true });

const { metafile } = await build({
  absWorkingDir: root,
  entryPoints: ENTRIES.map((entry) => `gateway/web/${entry}`),
  outdir: 'gateway/static',
  entryNames: '[name]-[hash]',
  chunkNames: 'common-[hash]',
  assetNames: '[name]-[hash]',
  publicPath: PREFIX.slice(0, -1),
  loader: { '.svg': 'copy' },
  bundle: true,
  splitting: true,
  format: 'esm',
  target: ['es2022', 'chrome111', 'firefox120', 'safari16.4'],
  minify: true,
  sourcemap: true,
  legalComments: 'linked',
  metafile: true,
  logLevel: 'warning',
});

/** Of each entry, the address that a page uses. */
const addresses = new Map();
for (const [path, { entryPoint, inputs }] of Object.entries(metafile.outputs)) {
  const source = entryPoint ?? (path.endsWith('.svg') && Object.keys(inputs)[0]);
  if (source) addresses.set(PREFIX + basename(source), PREFIX + basename(path));
}

/** What a script imports, itself and through others: a page names it all, so that it comes in one round trip. */
function importsOf(path, found = new Set()) {
  for (const { path: imported, kind, external } of metafile.outputs[path].imports) {
    if (kind !== 'import-statement' || external || found.has(imported)) continue;
    found.add(imported);
    importsOf(imported, found);
  }
  return found;
}

const preloads = (address) =>
  [...importsOf(join('gateway/static', address.slice(PREFIX.length)))]
    .map((path) => `<link rel="modulepreload" href="${PREFIX}${basename(path)}">`)
    .join('\n    ');

/** What stands in the head of every page, where it says so. */
const head = (await readFile(join(web, 'head.html'), 'utf8')).trim();
const HEAD_GOES_HERE = '<!-- head.html -->';

for (const page of PAGES) {
  const html = await readFile(join(web, page), 'utf8');
  if (!html.includes(HEAD_GOES_HERE)) throw new Error(`${page}: says nowhere ${HEAD_GOES_HERE}`);
  const linked = html.replace(HEAD_GOES_HERE, head).replace(/\/static\/[\w.-]+/g, (address) => {
    if (!addresses.has(address)) throw new Error(`${page}: nothing builds ${address}`);
    return addresses.get(address);
  });
  const whole = linked.replace(
    /<script type="module" src="([^"]+)"><\/script>/g,
    (script, address) => [script, preloads(address)].filter(Boolean).join('\n    '),
  );
  await writeFile(join(out, page), whole);
}
