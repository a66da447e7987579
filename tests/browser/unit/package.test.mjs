/** The package that is published: what is in it, and that it works where it is installed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { ChannelStreamConnection } from '../../../static/channelstream/src/index.js';
import { LIBRARY } from '../support/bundle.mjs';

const folder = fileURLToPath(LIBRARY);
const tools = fileURLToPath(new URL('../node_modules/.bin/', import.meta.url));
const manifest = JSON.parse(readFileSync(new URL('package.json', LIBRARY), 'utf8'));

let scratch;

/** Runs a program; its output, once it has succeeded. */
function run(program, args, cwd) {
    const { stdout, stderr, status } = spawnSync(program, args, { cwd, encoding: 'utf8' });
    assert.equal(status, 0, `${program} ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
}

before(() => {
    scratch = mkdtempSync(join(tmpdir(), 'channelstream-package-'));
    mkdirSync(join(scratch, 'project'));
    writeFileSync(join(scratch, 'project/package.json'), JSON.stringify({ name: 'project', private: true }));
    const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', scratch], folder));
    const install = ['install', '--offline', '--no-audit', '--no-fund', '--ignore-scripts', join(scratch, filename)];
    run('npm', install, join(scratch, 'project'));
});
after(() => rmSync(scratch, { recursive: true, force: true }));

const inProject = (path) => join(scratch, 'project', path);

test('it holds what is needed, and nothing else', () => {
    const [{ files, name, version }] = JSON.parse(run('npm', ['pack', '--dry-run', '--json'], folder));
    assert.deepEqual(files.map(({ path }) => path).sort(), [
        'LICENSE-APACHE', 'LICENSE-MIT', 'LICENSE-noble-hashes', 'README.md', 'channelstream.min.js', 'index.d.ts', 'index.js', 'package.json',
    ]);
    assert.deepEqual([name, version], ['channelstream-browser', ChannelStreamConnection.version]);
});

test('its metadata are complete, and everything they name is there', () => {
    for (const key of ['description', 'keywords', 'license', 'exports', 'types', 'files', 'sideEffects']) {
        assert.ok(key in manifest, key);
    }
    assert.ok(!manifest.private && !manifest.dependencies && !manifest.scripts);
    const named = [manifest.main, manifest.types, manifest.unpkg, manifest.jsdelivr, ...Object.values(manifest.exports)
        .flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))];
    named.forEach((path) => readFileSync(inProject(`node_modules/${manifest.name}/${path}`)));
});

test('it carries the licences of the project', () => {
    for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) {
        const root = readFileSync(new URL(`../../../${licence}`, import.meta.url), 'utf8');
        assert.equal(readFileSync(inProject(`node_modules/${manifest.name}/${licence}`), 'utf8'), root);
    }
});

test('it carries the licence of the library that is bundled into it', () => {
    const original = readFileSync(new URL('../node_modules/@noble/hashes/LICENSE', import.meta.url), 'utf8');
    assert.equal(readFileSync(inProject(`node_modules/${manifest.name}/LICENSE-noble-hashes`), 'utf8'), original);
});

test('Node imports it', () => {
    writeFileSync(inProject('main.mjs'), `
        import { ChannelStreamConnection, ChannelStreamSigner } from '${manifest.name}';
        console.log(new ChannelStreamConnection({ username: 'ada' }).username, typeof ChannelStreamSigner);
    `);
    assert.equal(run('node', ['main.mjs'], inProject('.')), 'ada function\n');
});

test('a bundler takes only what is used', () => {
    writeFileSync(inProject('signer.mjs'), `
        import { ChannelStreamSigner } from '${manifest.name}';
        console.log(new ChannelStreamSigner('secret').sign('value', 1));
    `);
    const bundled = run(`${tools}esbuild`, ['signer.mjs', '--bundle', '--format=esm', '--log-level=error'], inProject('.'));
    assert.ok(bundled.includes('ChannelStreamSigner') && !bundled.includes('ChannelStreamConnection'));
    writeFileSync(inProject('bundled.mjs'), bundled);
    assert.match(run('node', ['bundled.mjs'], inProject('.')), /^value\.AQ\.[\w-]{27}\n$/);
});

for (const [module, moduleResolution] of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
    test(`TypeScript finds its types, resolving like ${moduleResolution}`, () => {
        writeFileSync(inProject('page.mts'), `
            import { ChannelStreamConnection, type MessageFrame } from '${manifest.name}';
            const connection = new ChannelStreamConnection({ channels: ['lobby'] });
            connection.on('message', (frame: MessageFrame) => frame.user);
            // @ts-expect-error: the types are there, and say no
            connection.on('mesage', () => {});
        `);
        const options = ['--noEmit', '--strict', '--module', module, '--moduleResolution', moduleResolution];
        assert.equal(run(`${tools}tsc`, [...options, '--lib', 'es2022,dom', '--types', '', 'page.mts'], inProject('.')), '');
    });
}
