import assert from 'node:assert/strict';
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { ChannelStreamSigner } from '../../../static/channelstream/src/index.js';

const file = new URL('../../data/signatures.json', import.meta.url);
const { vectors } = JSON.parse(readFileSync(file, 'utf8'));

/** The vectors that a correct signer produces. The others are for servers, which must accept or refuse them. */
const canonical = vectors.filter(({ name, valid }) => valid && !/^browser signer|padding/.test(name));

const made = ({ secret, value, timestamp }) => new ChannelStreamSigner(secret).sign(value, timestamp);

for (const vector of canonical) {
    test(`signs like itsdangerous: ${vector.name}`, () => {
        assert.equal(made(vector), vector.signature);
    });
}

test('the file contains enough vectors', () => assert.ok(canonical.length >= 10));

test('a request is signed synchronously with the present time', (context) => {
    context.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_999 });
    const plain = vectors.find(({ name }) => name === 'plain');
    assert.equal(new ChannelStreamSigner('secret').signRequest(), plain.signature);
});

test('tokens contain only base64url characters', () => {
    const signer = new ChannelStreamSigner('secret');
    for (let second = 0; second < 500; second += 1) {
        assert.match(signer.sign('channelstream', 1_700_000_000 + second), /^channelstream\.[\w-]{6}\.[\w-]{27}$/);
    }
});

test('the token agrees with the hashes of Node for every length around the block size', () => {
    for (let length = 0; length < 200; length += 1) {
        const [secret, value] = ['s', 'v'].map((letter) => letter.repeat(length));
        const token = new ChannelStreamSigner(secret).sign(value, 1_700_000_000);
        const end = token.lastIndexOf('.');
        const key = createHash('sha1').update(`itsdangerous.Signersigner${secret}`).digest();
        assert.equal(token.slice(end + 1), createHmac('sha1', key).update(token.slice(0, end)).digest('base64url'));
    }
});

test('secrets and values outside ASCII are signed as UTF-8', () => {
    const token = new ChannelStreamSigner('geheimnis-ß-🔑').sign('grüße', 1);
    const key = createHash('sha1').update('itsdangerous.Signersignergeheimnis-ß-🔑').digest();
    assert.equal(token, `grüße.AQ.${createHmac('sha1', key).update('grüße.AQ').digest('base64url')}`);
});
