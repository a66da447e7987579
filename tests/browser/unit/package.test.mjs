/** The published package: its contents, and that it works after installation. */
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

/** Runs a program, which must succeed. Returns its output. */
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

test('the package contains only the needed files', () => {
    const [{ files, name, version }] = JSON.parse(run('npm', ['pack', '--dry-run', '--json'], folder));
    assert.deepEqual(files.map(({ path }) => path).sort(), [
        'LICENSE-APACHE', 'LICENSE-MIT', 'LICENSE-noble-hashes', 'README.md', 'channelstream.min.js', 'index.d.ts', 'index.js', 'package.json',
    ]);
    assert.deepEqual([name, version], ['channelstream-browser', ChannelStreamConnection.version]);
});

test('the metadata is complete, and all files that it names exist', () => {
    for (const key of ['description', 'keywords', 'license', 'exports', 'types', 'files', 'sideEffects']) {
        assert.ok(key in manifest, key);
    }
    assert.ok(!manifest.private && !manifest.dependencies && !manifest.scripts);
    const named = [manifest.main, manifest.types, manifest.unpkg, manifest.jsdelivr, ...Object.values(manifest.exports)
        .flatMap((target) => (typeof target === 'string' ? [target] : Object.values(target)))];
    named.forEach((path) => readFileSync(inProject(`node_modules/${manifest.name}/${path}`)));
});

test('the package contains the licences of the project', () => {
    for (const licence of ['LICENSE-MIT', 'LICENSE-APACHE']) {
        const root = readFileSync(new URL(`../../../${licence}`, import.meta.url), 'utf8');
        assert.equal(readFileSync(inProject(`node_modules/${manifest.name}/${licence}`), 'utf8'), root);
    }
});

test('the package contains the licence of the bundled library', () => {
    const original = readFileSync(new URL('../node_modules/@noble/hashes/LICENSE', import.meta.url), 'utf8');
    assert.equal(readFileSync(inProject(`node_modules/${manifest.name}/LICENSE-noble-hashes`), 'utf8'), original);
});

test('Node can import the package', () => {
    writeFileSync(inProject('main.mjs'), `
        import { ChannelStreamConnection, ChannelStreamSigner } from '${manifest.name}';
        console.log(new ChannelStreamConnection({ username: 'ada' }).username, typeof ChannelStreamSigner);
    `);
    assert.equal(run('node', ['main.mjs'], inProject('.')), 'ada function\n');
});

test('a bundler omits unused exports', () => {
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
    test(`TypeScript finds the types with module resolution ${moduleResolution}`, () => {
        writeFileSync(inProject('page.mts'), `
            import { ChannelStreamConnection, type MessageFrame } from '${manifest.name}';
            const connection = new ChannelStreamConnection({ channels: ['lobby'] });
            connection.on('message', (frame: MessageFrame) => frame.user);
            // @ts-expect-error: the types refuse an unknown event
            connection.on('mesage', () => {});
        `);
        const options = ['--noEmit', '--strict', '--module', module, '--moduleResolution', moduleResolution];
        assert.equal(run(`${tools}tsc`, [...options, '--lib', 'es2022,dom', '--types', '', 'page.mts'], inProject('.')), '');
    });
}
