/** The files that pages load are made from the sources, and are all that pages need. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createContext, runInContext } from 'node:vm';

import * as bundled from '../../../static/channelstream/index.js';
import * as sources from '../../../static/channelstream/src/index.js';
import { LIBRARY, bundle } from '../support/bundle.mjs';

const committed = (file) => readFileSync(new URL(file, LIBRARY), 'utf8');

for (const [file, { text, imports }] of await bundle()) {
    test(`${file} is what the sources make; if not: npm run build`, () => {
        assert.ok(committed(file) === text, `${file} is older than its sources`);
    });

    test(`${file} needs no other file`, () => {
        assert.deepEqual(imports, []);
    });
}

test('the module exports what the sources export', () => {
    assert.deepEqual(Object.keys(bundled).sort(), Object.keys(sources).sort());
    assert.equal(new bundled.ChannelStreamSigner('secret').sign('a', 1).split('.').length, 3);
});

test('the classic script leaves one global with the same content, and runs in sloppy pages', () => {
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
