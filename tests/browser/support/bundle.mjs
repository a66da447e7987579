/** Builds the files that pages load from the library's modules: an ES module and a classic script. */
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { build } from 'esbuild';

export const LIBRARY = new URL('../../../static/channelstream/', import.meta.url);

const manifest = (path, base) => JSON.parse(readFileSync(new URL(path, base), 'utf8'));

const { name, version, license } = manifest('package.json', LIBRARY);
const noble = manifest('../node_modules/@noble/hashes/package.json', import.meta.url);

const banner = {
    js: `/*! ${name} ${version} | ${license} | made from src/ by "npm run build" in tests/browser | contains ${noble.name} ` +
        `${noble.version}, ${noble.license}, Copyright (c) 2022 Paul Miller, see LICENSE-noble-hashes */`,
};

/** Short names for the private members, which begin with an underscore. They keep it, so that they meet no public name. */
function shortNames() {
    const sources = readdirSync(new URL('src/', LIBRARY)).sort().map((file) => readFileSync(new URL(`src/${file}`, LIBRARY), 'utf8'));
    const names = new Set(sources.join('').match(/(?<=\.|^ +(?:static |get )?)_[a-z]\w*/gim));
    return Object.fromEntries([...names].map((name, index) => [name, `_${index.toString(36)}`]));
}

/** Browsers have these for longer than the rest of ES2022. Without them the script would be one kilobyte larger. */
const FIELDS = { 'class-field': true };

const FORMATS = {
    // Not minified, because applications that bundle it minify their bundle.
    'index.js': { format: 'esm', target: 'es2022' },
    'channelstream.min.js': { format: 'iife', globalName: 'ChannelStream', target: 'es2021', supported: FIELDS, minify: true, mangleProps: /^_[a-z]/i, mangleCache: shortNames() },
};

/** @returns {Promise<Map<string, {text: string, imports: object[]}>>} by file name */
export async function bundle() {
    const made = new Map();
    for (const [file, format] of Object.entries(FORMATS)) {
        const { outputFiles: [{ text }], metafile } = await build({
            absWorkingDir: fileURLToPath(LIBRARY),
            entryPoints: ['src/index.js'],
            bundle: true,
            write: false,
            metafile: true,
            charset: 'utf8',
            logLevel: 'error',
            banner,
            ...format,
        });
        made.set(file, { text, imports: Object.values(metafile.outputs).flatMap((output) => output.imports) });
    }
    return made;
}
