/** The documents about the browser library are complete, and their code has the right types. pages/ runs the code. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import * as library from '../../../static/channelstream/src/index.js';
import { blocks, read } from '../support/documents.mjs';

const PAGE = 'docs/browser-library.md';
const here = fileURLToPath(new URL('..', import.meta.url));

/** The public names of an object and of its classes. */
function publicNames(object) {
    const names = new Set();
    for (let part = object; part !== Object.prototype; part = Object.getPrototypeOf(part)) {
        Object.getOwnPropertyNames(part).forEach((name) => names.add(name));
    }
    return [...names].filter((name) => !name.startsWith('_') && name !== 'constructor');
}

/** The values of a type in the declarations. */
function valuesOf(type) {
    const [, union] = read('static/channelstream/index.d.ts').match(new RegExp(`^export type ${type} =([^;]*);`, 'm'));
    return [...union.matchAll(/'([^']+)'/g)].map(([, value]) => value);
}

test('the document names every option, method, callback, event, state and code', () => {
    const text = read(PAGE);
    const made = new library.ChannelStreamConnection();
    const channel = made.channel('any');
    const names = [
        ...publicNames(made).filter((name) => name !== 'mutators'), ...publicNames(channel),
        ...Object.keys(library), ...made._listeners.keys(), ...channel._listeners.keys(), ...Object.keys(made.mutators),
        ...['ConnectionState', 'StateReason', 'TransportName', 'SubscriptionState', 'ErrorCode'].flatMap(valuesOf),
    ];
    assert.ok(names.length > 100);
    for (const name of names) {
        assert.ok(new RegExp('`(connection\\.)?' + name + '[`(]').test(text), `${name} is not mentioned`);
    }
});

test('the documented defaults of options are correct', () => {
    const made = new library.ChannelStreamConnection();
    const [, section] = read(PAGE).match(/^## Options$(.*?)^## /ms);
    const rows = [...section.matchAll(/^\| ((?:`\w+`(?:, )?)+) \|\s*([^|]*?)\s*\| /gm)];
    const options = new Map(rows.flatMap(([, names, value]) => names.split(', ').map((name) => [name.slice(1, -1), value])));
    const readOnly = ['connectionId', 'connected', 'websocket', 'mutators'];
    const settable = Object.keys(made).filter((name) => !/^_|Callback$/.test(name) && !readOnly.includes(name));
    assert.deepEqual([...options.keys()].sort(), settable.sort());
    for (const name of settable) {
        assert.equal(options.get(name).replaceAll('`', ''), typeof made[name] === 'string' ? made[name] : JSON.stringify(made[name]), name);
    }
});

test('the table of contents links to every section', () => {
    const text = read(PAGE);
    const anchor = (title) => title.toLowerCase().replace(/[^\w\- ]/g, '').replaceAll(' ', '-');
    const titles = [...text.matchAll(/^##+ (.*)$/gm)].map(([, title]) => anchor(title));
    const links = [...text.matchAll(/\(#([^)]*)\)/g)].map(([, link]) => link);
    assert.deepEqual(titles.filter((title) => !links.includes(title)), []);
    assert.deepEqual(links.filter((link) => !titles.includes(link)), []);
});

for (const path of [PAGE, 'README.md', 'static/channelstream/README.md']) {
    test(`the code of ${path} has the right types`, () => {
        const code = blocks(path, 'js');
        assert.ok(code.length > 0);
        const name = path.replaceAll(/\W/g, '-');
        mkdirSync(`${here}output/types`, { recursive: true });
        writeFileSync(`${here}output/types/${name}.mjs`, code.join('\n'));
        const project = {
            extends: '../../types/tsconfig.json',
            compilerOptions: {
                allowJs: true,
                checkJs: true,
                noUncheckedIndexedAccess: false,
                paths: {
                    'channelstream-browser': ['../../../../static/channelstream/index.d.ts'],
                    '@channelstream/channelstream': ['../../../../static/channelstream/index.d.ts'],
                },
            },
            include: [`./${name}.mjs`],
        };
        writeFileSync(`${here}output/types/${name}.json`, JSON.stringify(project));
        const { stdout } = spawnSync('node_modules/.bin/tsc', ['-p', `output/types/${name}.json`], { cwd: here, encoding: 'utf8' });
        assert.equal(stdout, '');
    });
}
