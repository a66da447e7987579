import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ChannelStreamSigner } from '../../../static/channelstream/src/index.js';
import { hmacSha1, sha1 } from '../../../static/channelstream/src/sha1.js';

const file = new URL('../../data/signatures.json', import.meta.url);
const { vectors } = JSON.parse(readFileSync(file, 'utf8'));

/** Those a correct signer would make: the others show what a server must also accept, or refuse. */
const canonical = vectors.filter(({ name, valid }) => valid && !/^browser signer|padding/.test(name));

const made = ({ secret, value, timestamp }) => new ChannelStreamSigner(secret).sign(value, timestamp);

for (const vector of canonical) {
    test(`signs like itsdangerous: ${vector.name}`, () => {
        assert.equal(made(vector), vector.signature);
    });
}

test('there are vectors to compare with', () => assert.ok(canonical.length >= 10));

test('a request is signed with the present time, at once', (context) => {
    context.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_999 });
    const plain = vectors.find(({ name }) => name === 'plain');
    assert.equal(new ChannelStreamSigner('secret').signRequest(), plain.signature);
});

test('no token holds a character that is not base64url', () => {
    const signer = new ChannelStreamSigner('secret');
    for (let second = 0; second < 500; second += 1) {
        assert.match(signer.sign('channelstream', 1_700_000_000 + second), /^channelstream\.[\w-]{6}\.[\w-]{27}$/);
    }
});

test('sha1 and hmac agree with the platform for every length around the block size', () => {
    for (let length = 0; length < 200; length += 1) {
        const bytes = Uint8Array.from({ length }, (_, index) => (index * 37 + length) & 0xff);
        assert.equal(Buffer.from(sha1(bytes)).toString('hex'), createHash('sha1').update(bytes).digest('hex'));
        const expected = createHmac('sha1', bytes).update(bytes).digest('hex');
        assert.equal(Buffer.from(hmacSha1(bytes, bytes)).toString('hex'), expected);
    }
});
