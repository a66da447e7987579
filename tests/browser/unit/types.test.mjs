/** The declarations match the sources and are strict for pages. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ChannelStreamConnection } from '../../../static/channelstream/src/index.js';
import { LIBRARY } from '../support/bundle.mjs';

const here = fileURLToPath(new URL('..', import.meta.url));

function compile(project) {
    const { stdout, status } = spawnSync('node_modules/.bin/tsc', ['-p', project], { cwd: here, encoding: 'utf8' });
    assert.equal(stdout, '');
    assert.equal(status, 0);
}

for (const [name, project] of [
    ['the sources match the declarations', 'types/sources.tsconfig.json'],
    ['the declarations support pages in TypeScript and detect mistakes', 'types/tsconfig.json'],
    ['a classic script has types too', 'types/classic.tsconfig.json'],
]) {
    test(name, () => compile(project));
}

test('every event, option and method is declared', () => {
    const declared = readFileSync(new URL('index.d.ts', LIBRARY), 'utf8');
    const made = new ChannelStreamConnection();
    const [channel] = [made.channel('any')];
    const names = (object) => {
        const all = new Set();
        for (let part = object; part !== Object.prototype; part = Object.getPrototypeOf(part)) {
            Object.getOwnPropertyNames(part).forEach((name) => all.add(name));
        }
        return [...all].filter((name) => !name.startsWith('_') && name !== 'constructor');
    };
    const events = [...made._listeners.keys(), ...channel._listeners.keys()];
    for (const name of [...names(made), ...names(channel), ...events]) {
        assert.match(declared, new RegExp(`^ *(readonly |static readonly )?'?${name}'?[:(<]`, 'm'), name);
    }
});
