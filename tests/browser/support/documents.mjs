/** Reads the code in documents. */
import { readFileSync } from 'node:fs';

export const read = (path) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');

/** The texts of all blocks of a language in a document, in order. */
export function blocks(path, language) {
    const fenced = new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms');
    return [...read(path).matchAll(fenced)].map(([, code]) => code);
}
