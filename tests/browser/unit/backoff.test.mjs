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

test('the wait is anything between zero and the bound', () => {
    assert.deepEqual(waits(new Backoff({ random: () => 0 }), 3), [0, 0, 0]);
    assert.deepEqual(waits(new Backoff({ random: () => 0.25 }), 3), [500, 1000, 2000]);
});

test('a thousand clients that lost the server at once come back spread over the whole of each wait', () => {
    const firsts = Array.from({ length: 1000 }, () => new Backoff().next(2000, 60_000));
    for (let tenth = 0; tenth < 10; tenth += 1) {
        const within = firsts.filter((wait) => wait >= tenth * 200 && wait < (tenth + 1) * 200).length;
        // 100 are expected and their deviation is 9.5: this is off by chance once in a thousand million runs.
        assert.ok(within > 40 && within < 160, `${within} in tenth ${tenth}`);
    }
});

test('it starts anew after a success, and never overflows', () => {
    const backoff = new Backoff({ random: () => 1 });
    assert.equal(waits(backoff, 5000).at(-1), 60000);
    backoff.reset();
    assert.equal(backoff.next(2000, 60_000), 2000);
});

test('silence is too long after three pauses, and never before the least limit', () => {
    const rhythm = new Rhythm();
    assert.equal(rhythm.limitMs(15_000), null);
    rhythm.note(4000);
    assert.equal(rhythm.limitMs(15_000), 15_000);
    rhythm.note(6000);
    rhythm.note(5000);
    assert.equal(rhythm.limitMs(15_000), 18_000);
});

test('a gap is no rhythm, be it first or later', () => {
    const rhythm = new Rhythm();
    [3_600_000, 10_000, 11_000, 3_600_000, 9000].forEach((pause) => rhythm.note(pause));
    assert.equal(rhythm.longestMs, 11_000);
});

const graceMs = 30_000;
const socket = {
    code: 1006, opened: true, spoke: true, resumed: false, lostForMs: 0, graceMs, muteSockets: 0, canPoll: true,
};
const mute = { spoke: false, muteSockets: MUTE_SOCKETS };

const socketRules = [
    ['a lost socket resumes its id', {}, 'resume websocket'],
    ['so does one the server closed for a restart', { code: 1012 }, 'resume websocket'],
    ['or for its stop', { code: 1001 }, 'resume websocket'],
    ['an attempt that did not open goes the other way next', { opened: false, spoke: false, resumed: true },
        'resume longpoll'],
    ['unless there is no other way', { opened: false, spoke: false, resumed: true, canPoll: false },
        'resume websocket'],
    ['after the grace time the id is gone', { resumed: true, opened: false, lostForMs: graceMs + 1 }, 'connect'],
    ['an old id that is unknown is replaced at once', { code: 1000, spoke: false, resumed: true }, 'connect now'],
    ['a fresh id that is unknown waits', { code: 1000, spoke: false }, 'connect'],
    ['a socket that spoke and was closed in order asks again', { code: 1000 }, 'resume websocket'],
    ['a socket that was taken over stays away', { code: 4001 }, 'stop now'],
    ['a websocket that cannot open', { opened: false, spoke: false }, 'resume longpoll now'],
    ['is tried again where there is no long-polling', { opened: false, spoke: false, canPoll: false },
        'resume websocket'],
    ['websockets that never carry a frame', mute, 'resume longpoll now'],
    ['are all there is without long-polling', { ...mute, canPoll: false }, 'resume websocket'],
];

const told = ({ action, transport, now }) => [action, transport, now && 'now'].filter(Boolean).join(' ');

for (const [name, end, expected] of socketRules) {
    test(`${name}: ${expected}`, () => assert.equal(told(afterWebSocket({ ...socket, ...end })), expected));
}

test('a restarting server says when to come back', () => {
    const waits = (code, reason) => afterWebSocket({ ...socket, code, reason }).atLeastMs;
    assert.equal(waits(1012, 'server is restarting; retry after 1500 ms'), 1500);
    assert.equal(waits(1012, ''), 0);
    assert.equal(waits(1001, 'server is restarting; retry after 1500 ms'), 0);
});

const poll = { status: 0, resumed: true, answered: true, lostForMs: 0, graceMs, canSocket: true };

test('a failed poll is repeated, the other way if it never worked', () => {
    for (const status of [0, 408, 425, 429, 500, 502, 503, 504]) {
        assert.equal(told(afterLongPoll({ ...poll, status })), 'resume longpoll');
        assert.equal(told(afterLongPoll({ ...poll, status, answered: false })), 'resume websocket');
        assert.equal(told(afterLongPoll({ ...poll, status, answered: false, canSocket: false })), 'resume longpoll');
    }
});

test('a refused poll connects anew, at once if the id had worked', () => {
    for (const status of [400, 401, 403, 404, 422]) {
        assert.equal(told(afterLongPoll({ ...poll, status })), 'connect now');
        assert.equal(told(afterLongPoll({ ...poll, status, resumed: false })), 'connect');
    }
});

test('a poll that fails beyond the grace time connects anew, as its refusal may be hidden from the page', () => {
    assert.equal(told(afterLongPoll({ ...poll, lostForMs: graceMs + 1 })), 'connect');
});
