import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../../../static/channelstream/src/backoff.js';
import { GRACE_MS, MUTE_SOCKETS, afterLongPoll, afterWebSocket } from '../../../static/channelstream/src/reconnect.js';

const waits = (backoff, count) => Array.from({ length: count }, () => backoff.next(2000));

test('the bound doubles up to the cap', () => {
    const backoff = new Backoff({ random: () => 1 });
    assert.deepEqual(waits(backoff, 7), [2000, 4000, 8000, 16000, 32000, 60000, 60000]);
});

test('the wait is anything between zero and the bound', () => {
    assert.deepEqual(waits(new Backoff({ random: () => 0 }), 3), [0, 0, 0]);
    assert.deepEqual(waits(new Backoff({ random: () => 0.25 }), 3), [500, 1000, 2000]);
});

test('it starts anew after a success, and never overflows', () => {
    const backoff = new Backoff({ random: () => 1 });
    assert.equal(waits(backoff, 5000).at(-1), 60000);
    backoff.reset();
    assert.equal(backoff.next(2000), 2000);
});

const socket = { code: 1006, opened: true, spoke: true, resumed: false, lostForMs: 0, muteSockets: 0 };

const rules = [
    ['a lost socket resumes its id', {}, 'resume', false],
    ['so does one the server closed for a restart', { code: 1001 }, 'resume', false],
    ['within the grace time it goes on trying', { opened: false, spoke: false, resumed: true }, 'resume', false],
    ['after the grace time the id is gone',
        { resumed: true, opened: false, lostForMs: GRACE_MS + 1 }, 'connect', false],
    ['an old id that is unknown is replaced at once', { code: 1000, spoke: false, resumed: true }, 'connect', true],
    ['a fresh id that is unknown waits', { code: 1000, spoke: false }, 'connect', false],
    ['a socket that was taken over stays away', { code: 4001 }, 'stop', true],
    ['a websocket that cannot open', { opened: false, spoke: false }, 'longPoll', true],
    ['websockets that never carry a frame', { spoke: false, muteSockets: MUTE_SOCKETS }, 'longPoll', true],
];

for (const [name, end, action, now] of rules) {
    test(`${name}: ${action}`, () => assert.deepEqual(afterWebSocket({ ...socket, ...end }), { action, now }));
}

test('a failed poll is repeated, a refused one connects anew', () => {
    for (const status of [0, 408, 429, 500, 502, 503, 504]) {
        assert.deepEqual(afterLongPoll({ status, resumed: true, lostForMs: 0 }), { action: 'resume', now: false });
    }
    for (const status of [401, 403, 404, 422]) {
        assert.deepEqual(afterLongPoll({ status, resumed: true, lostForMs: 0 }), { action: 'connect', now: true });
        assert.deepEqual(afterLongPoll({ status, resumed: false, lostForMs: 0 }), { action: 'connect', now: false });
    }
});

test('a poll that fails beyond the grace time connects anew, as its refusal may be hidden from the page', () => {
    const end = { status: 0, resumed: true, lostForMs: GRACE_MS + 1 };
    assert.deepEqual(afterLongPoll(end), { action: 'connect', now: false });
});
