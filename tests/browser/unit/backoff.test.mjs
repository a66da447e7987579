import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Backoff } from '../../../static/channelstream/src/backoff.js';
import { MUTE_SOCKETS, afterLongPoll, afterWebSocket } from '../../../static/channelstream/src/reconnect.js';
import { Rhythm } from '../../../static/channelstream/src/rhythm.js';

const waits = (backoff, count) => Array.from({ length: count }, () => backoff.next(2000, 60_000));

test('the bound doubles up to the cap', () => {
    const backoff = new Backoff({ random: () => 1 });
    assert.deepEqual(waits(backoff, 7), [2000, 4000, 8000, 16000, 32000, 60000, 60000]);
});

test('the wait is a random time between zero and the bound', () => {
    assert.deepEqual(waits(new Backoff({ random: () => 0 }), 3), [0, 0, 0]);
    assert.deepEqual(waits(new Backoff({ random: () => 0.25 }), 3), [500, 1000, 2000]);
});

test('a thousand clients that lose the server together reconnect evenly spread over each wait', () => {
    const firsts = Array.from({ length: 1000 }, () => new Backoff().next(2000, 60_000));
    for (let tenth = 0; tenth < 10; tenth += 1) {
        const within = firsts.filter((wait) => wait >= tenth * 200 && wait < (tenth + 1) * 200).length;
        // The expected count is 100 and its deviation 9.5, so this fails by chance once in a thousand million runs.
        assert.ok(within > 40 && within < 160, `${within} in tenth ${tenth}`);
    }
});

test('the bound restarts after a success, and never overflows', () => {
    const backoff = new Backoff({ random: () => 1 });
    assert.equal(waits(backoff, 5000).at(-1), 60000);
    backoff.reset();
    assert.equal(backoff.next(2000, 60_000), 2000);
});

test('the silence limit is three pauses, and at least the given minimum', () => {
    const rhythm = new Rhythm();
    assert.equal(rhythm.limitMs(15_000), null);
    rhythm.note(4000);
    assert.equal(rhythm.limitMs(15_000), 15_000);
    rhythm.note(6000);
    rhythm.note(5000);
    assert.equal(rhythm.limitMs(15_000), 18_000);
});

test('a gap does not count as a pause, whether it comes first or later', () => {
    const rhythm = new Rhythm();
    [3_600_000, 10_000, 11_000, 3_600_000, 9000].forEach((pause) => rhythm.note(pause));
    assert.equal(rhythm.longestMs, 11_000);
});

const graceMs = 30_000;
const socket = {
    code: 1006, opened: true, receivedFrame: true, resumed: false, lostForMs: 0, graceMs, muteSockets: 0, other: 'longpoll',
};
const mute = { receivedFrame: false, muteSockets: MUTE_SOCKETS };

const socketRules = [
    ['a lost socket resumes its id', {}, 'resume websocket'],
    ['a socket that the server closed for a restart', { code: 1012 }, 'resume websocket'],
    ['a socket that the server closed for a stop', { code: 1001 }, 'resume websocket'],
    ['after a socket that did not open the other transport is next', { opened: false, receivedFrame: false, resumed: true },
        'resume longpoll'],
    ['a socket that did not open, without another transport', { opened: false, receivedFrame: false, resumed: true, other: undefined },
        'resume websocket'],
    ['after the grace time the id is invalid', { resumed: true, opened: false, lostForMs: graceMs + 1 }, 'connect'],
    ['an unknown old id is replaced immediately', { code: 1000, receivedFrame: false, resumed: true }, 'connect now'],
    ['an unknown new id waits', { code: 1000, receivedFrame: false }, 'connect'],
    ['a socket that carried frames and was closed in order reconnects', { code: 1000 }, 'resume websocket'],
    ['a socket that was taken over stays closed', { code: 4001 }, 'stop now'],
    ['a websocket that cannot open', { opened: false, receivedFrame: false }, 'resume longpoll now'],
    ['a websocket that cannot open, without long-polling', { opened: false, receivedFrame: false, other: undefined },
        'resume websocket'],
    ['websockets that never carry a frame', mute, 'resume longpoll now'],
    ['websockets that never carry a frame, without long-polling', { ...mute, other: undefined }, 'resume websocket'],
];

const textOf = ({ action, transport, now }) => [action, transport, now && 'now'].filter(Boolean).join(' ');

for (const [name, end, expected] of socketRules) {
    test(`${name}: ${expected}`, () => assert.equal(textOf(afterWebSocket({ ...socket, ...end })), expected));
}

test('a restarting server sets the time to reconnect', () => {
    const waits = (code, reason) => afterWebSocket({ ...socket, code, reason }).atLeastMs;
    assert.equal(waits(1012, 'server is restarting; retry after 1500 ms'), 1500);
    assert.equal(waits(1012, ''), 0);
    assert.equal(waits(1001, 'server is restarting; retry after 1500 ms'), 0);
});

const poll = { status: 0, resumed: true, answered: true, lostForMs: 0, graceMs, other: 'websocket' };

test('a failed poll is repeated, over the other transport if polling never worked', () => {
    for (const status of [0, 408, 425, 429, 500, 502, 503, 504]) {
        assert.equal(textOf(afterLongPoll({ ...poll, status })), 'resume longpoll');
        assert.equal(textOf(afterLongPoll({ ...poll, status, answered: false })), 'resume websocket');
        assert.equal(textOf(afterLongPoll({ ...poll, status, answered: false, other: undefined })), 'resume longpoll');
    }
});

test('a refused poll connects again, immediately if the id had worked', () => {
    for (const status of [400, 401, 403, 404, 422]) {
        assert.equal(textOf(afterLongPoll({ ...poll, status })), 'connect now');
        assert.equal(textOf(afterLongPoll({ ...poll, status, resumed: false })), 'connect');
    }
});

test('a poll that fails after the grace time connects again, because the browser may hide a refusal', () => {
    assert.equal(textOf(afterLongPoll({ ...poll, lostForMs: graceMs + 1 })), 'connect');
});
