/** The build makes the files that pages load from the sources. Pages need no other files. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';

import * as bundled from '../../../static/channelstream/index.js';
import * as sources from '../../../static/channelstream/src/index.js';
import { LIBRARY, bundle } from '../support/bundle.mjs';

const committed = (file) => readFileSync(new URL(file, LIBRARY), 'utf8');

for (const [file, { text, imports }] of await bundle()) {
    test(`${file} matches the sources; if not, run npm run build`, () => {
        assert.ok(committed(file) === text, `${file} is older than its sources`);
    });

    test(`${file} imports no other file`, () => {
        assert.deepEqual(imports, []);
    });
}

test('the module has the same exports as the sources', () => {
    assert.deepEqual(Object.keys(bundled).sort(), Object.keys(sources).sort());
    assert.equal(new bundled.ChannelStreamSigner('secret').sign('a', 1).split('.').length, 3);
});

test('the classic script defines one global with the same exports, and runs in sloppy mode', () => {
    const page = createContext({ TextEncoder, btoa });
    const before = Object.keys(page);
    runInContext(committed('channelstream.min.js'), page);
    assert.deepEqual(Object.keys(page).filter((key) => !before.includes(key)), ['ChannelStream']);
    assert.deepEqual(Object.keys(page.ChannelStream).sort(), Object.keys(sources).sort());
    assert.equal(runInContext('new ChannelStream.ChannelStreamConnection().username', page), 'Anonymous');
});

test('the classic script signs in a page without WebCrypto, as on plain http, and in a browser of January 2022', () => {
    const page = createContext({ TextEncoder, btoa });
    runInContext('delete Object.hasOwn', page);
    runInContext(committed('channelstream.min.js'), page);
    assert.equal(runInContext('typeof crypto', page), 'undefined');
    const token = runInContext("new ChannelStream.ChannelStreamSigner('secret').sign('a', 1)", page);
    assert.equal(token, new sources.ChannelStreamSigner('secret').sign('a', 1));
});

for (const file of ['index.js', 'channelstream.min.js']) {
    test(`${file} names the licence of the code that it contains`, () => {
        const [banner] = committed(file).split('\n');
        assert.match(banner, /@noble\/hashes \d+\.\d+\.\d+, MIT, Copyright \(c\) 2022 Paul Miller, see LICENSE-noble-hashes/);
    });
}
