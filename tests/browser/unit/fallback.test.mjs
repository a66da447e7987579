/** Changes from websocket to long-polling and back. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import {
    FakeRequest, FakeSocket, connected, install, lastRequest, lastSocket, page, record, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const OWN = 'ws://server/ws?conn_id=first&resume=1';
const POLL = '//server/listen?conn_id=first&resume=1';

/** Answers a poll after a wait. */
function answer(list) {
    tick(2000);
    lastRequest().answer(200, list);
}

/** A connection that has just fallen back, with its first poll answered. */
function fallenBack(settings) {
    const made = connected(settings);
    lastSocket().drop(1006);
    tick(0);
    assert.equal(lastRequest().url, POLL);
    answer([]);
    return made;
}

/** Advances the time and answers polls until another socket opens. */
function untilProbe() {
    const count = FakeSocket.opened.length;
    const startedAt = Date.now();
    while (FakeSocket.opened.length === count) {
        answer([]);
        assert.ok(Date.now() - startedAt < 1_000_000, 'no probe');
    }
    return Date.now() - startedAt;
}

test('long-polling replaces a websocket that does not open, immediately and with the same id', () => {
    const made = connected();
    const opened = record(made, 'open');
    lastSocket().drop(1006);
    tick(0);
    assert.equal(lastRequest().url, POLL);
    answer([{ uuid: 'a' }]);
    assert.equal(made.messages.length, 1);
    assert.equal(made.transport, 'longpoll');
    assert.equal(made.websocket, null);
    assert.deepEqual(opened, [['open', { transport: 'longpoll', connectionId: 'first', resumed: false, gap: false }]]);
});

test('long-polling replaces a websocket whose handshake gets no response', () => {
    connected();
    tick(5000);
    tick(0);
    assert.equal(lastRequest().url, POLL);
});

test('long-polling replaces sockets that open and never carry a frame', () => {
    connected();
    for (let turn = 0; turn < 3; turn += 1) {
        lastSocket().accept();
        lastSocket().drop(1006);
        tick(turn === 2 ? 0 : 4000);
    }
    assert.equal(FakeSocket.opened.length, 3);
    assert.equal(lastRequest().url, POLL);
});

test('the client does not send polls to a server that is too busy for sockets', () => {
    connected();
    for (let turn = 0; turn < 4; turn += 1) {
        lastSocket().accept();
        lastSocket().drop(1013);
        tick(4000);
    }
    assert.equal(FakeRequest.sent.length, 1);
});

test('without an address for long-polling the client continues to try the websocket', () => {
    connected({ longPollUrl: '' });
    lastSocket().drop(1006);
    tick(2000);
    assert.equal(lastSocket().url, OWN);
    assert.equal(FakeSocket.opened.length, 2);
    assert.equal(FakeRequest.sent.length, 1);
});

test('without an address for websockets the client polls, and never probes', () => {
    connected({ websocketUrl: '' });
    for (let turn = 0; turn < 300; turn += 1) {
        answer([]);
    }
    assert.equal(FakeSocket.opened.length, 0);
});

test('the client keeps polling if the page has chosen it', () => {
    for (const choose of [(made) => { made.noWebsocket = true; }, (made) => made.openLongPoll()]) {
        const made = connected();
        choose(made);
        made.openLongPoll();
        const count = FakeSocket.opened.length;
        for (let turn = 0; turn < 300; turn += 1) {
            answer([]);
        }
        assert.equal(FakeSocket.opened.length, count);
    }
});

test('a probe does not affect the connection, because it uses an unknown id', () => {
    fallenBack();
    untilProbe();
    const [, id] = lastSocket().url.match(/^ws:\/\/server\/ws\?conn_id=(.*)$/);
    assert.match(id, /^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}$/);
});

test('after a successful probe the socket takes over between two polls', () => {
    const made = fallenBack();
    const opened = record(made, 'open', 'state', 'close');
    untilProbe();
    lastSocket().accept();
    lastSocket().drop(1000);
    assert.equal(lastRequest().url, POLL);
    assert.equal(lastRequest().readyState, 1, 'the poll continues during the probe');
    const polls = FakeRequest.sent.length;

    answer([{ uuid: 'last of the polls' }]);
    assert.equal(FakeRequest.sent.length, polls, 'no poll is in flight while the socket opens');
    assert.equal(lastSocket().url, OWN);
    assert.equal(made.connected, true);
    assert.equal(made.transport, 'longpoll');

    lastSocket().accept();
    lastSocket().frame([{ uuid: 'first of the socket' }]);
    assert.equal(made.transport, 'websocket');
    assert.equal(made.websocket, lastSocket());
    assert.deepEqual(made.messages.map(({ uuid }) => uuid), ['last of the polls', 'first of the socket']);
    assert.deepEqual(opened, [['open', { transport: 'websocket', connectionId: 'first', resumed: true, gap: false }]]);
    assert.equal(made.calls.filter((name) => name === 'listenOpened').length, 2);
    tick(60_000);
    assert.equal(FakeRequest.sent.length, polls);
});

test('a failed probe is repeated with growing waits, and does not affect the polls', () => {
    const made = fallenBack();
    const waits = [];
    for (let turn = 0; turn < 8; turn += 1) {
        waits.push(untilProbe());
        lastSocket().drop(1006);
    }
    for (const [turn, bound] of [5000, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000].entries()) {
        assert.ok(waits[turn] >= bound / 2 && waits[turn] <= bound + 4000, `wait ${turn} was ${waits[turn]} ms`);
    }
    assert.equal(made.connected, true);
    assert.deepEqual(made.calls.filter((name) => name.includes('Error')), ['listenError'].slice(1));
});

for (const [fault, end] of [
    ['is refused', (socket) => socket.drop(1006)],
    ['opens and breaks', (socket) => { socket.accept(); socket.drop(1006); }],
    ['opens and stays silent', (socket) => { socket.accept(); tick(5000); }],
    ['gets no response', () => tick(5000)],
]) {
    test(`a probe that ${fault} does not count as a success`, () => {
        const made = fallenBack();
        untilProbe();
        end(lastSocket());
        answer([]);
        assert.equal(lastRequest().url, POLL);
        assert.equal(lastRequest().readyState, 1);
        assert.notEqual(lastSocket().url, OWN);
        assert.equal(made.transport, 'longpoll');
    });
}

test('polling continues if the socket does not open after a successful probe', () => {
    for (const fail of [() => lastSocket().drop(1006), () => tick(5000)]) {
        const made = fallenBack();
        const events = record(made, 'state', 'close');
        untilProbe();
        lastSocket().accept();
        lastSocket().drop(1000);
        answer([]);
        assert.equal(lastSocket().url, OWN);
        const polls = FakeRequest.sent.length;
        fail();
        assert.equal(FakeRequest.sent.length, polls + 1);
        answer([{ uuid: 'a' }]);
        assert.equal(made.messages.length, 1);
        assert.deepEqual(events, []);
        untilProbe();
        made.closeConnection();
    }
});

test('ending the connection ends the probe and the new socket', () => {
    for (const steps of [0, 1]) {
        const made = fallenBack();
        untilProbe();
        if (steps) {
            lastSocket().accept();
            lastSocket().drop(1000);
            answer([]);
        }
        made.closeConnection();
        assert.equal(lastSocket().readyState, 3);
        const count = FakeSocket.opened.length + FakeRequest.sent.length;
        tick(1_000_000);
        assert.equal(FakeSocket.opened.length + FakeRequest.sent.length, count);
    }
});

test('a new id uses long-polling immediately if websockets are blocked', () => {
    fallenBack();
    lastRequest().answer(401, {});
    tick(0);
    lastRequest().answer(200, { conn_id: 'second', channels: [] });
    assert.equal(lastRequest().url, '//server/listen?conn_id=second&resume=1');
    assert.equal(FakeSocket.opened.length, 1);
});

test('after long-polling fails too, the websocket is preferred again', () => {
    connected();
    lastSocket().drop(1006);
    tick(0);
    lastRequest().fail();
    tick(2000);
    assert.equal(FakeSocket.opened.length, 2);
    assert.equal(lastSocket().url, OWN);
});

test('the websocket is tried soon after a change of the network', () => {
    fallenBack();
    for (let turn = 0; turn < 8; turn += 1) {
        untilProbe();
        lastSocket().drop(1006);
    }
    page.network(false);
    page.network(true);
    assert.ok(untilProbe() <= 6000);
});

/** Changes back to a websocket, which then breaks immediately or after the given time. */
function changeAndFallBack(lastsMs) {
    lastSocket().accept();
    lastSocket().drop(1000);
    answer([]);
    assert.equal(lastSocket().url, OWN);
    lastSocket().accept();
    tick(500);
    for (let second = 0; second < lastsMs; second += 5000) {
        tick(5000);
        lastSocket().frame([]);
    }
    for (let mute = 0; lastRequest().readyState !== 1; mute += 1) {
        assert.ok(mute < 5, 'the connection falls back');
        lastSocket().drop(1006);
        tick(8000);
        if (lastSocket().readyState === 0) {
            lastSocket().accept();
        }
    }
    assert.equal(lastRequest().url, POLL);
    answer([{ uuid: 'a' }]);
}

test('a socket that breaks soon after each change is tried with growing waits, until one lasts', () => {
    const made = fallenBack();
    const opened = record(made, 'open');
    const waits = [];
    for (let turn = 0; turn < 4; turn += 1) {
        waits.push(untilProbe());
        changeAndFallBack(0);
    }
    assert.deepEqual(opened.map(([, { transport }]) => transport), Array(4).fill(['websocket', 'longpoll']).flat());
    assert.ok(waits[3] > 4 * waits[0], `${waits}`);
    untilProbe();
    changeAndFallBack(70_000);
    assert.ok(untilProbe() < 2 * waits[0]);
});

test('after a change of the network a new id uses a websocket first', () => {
    fallenBack();
    page.network(true);
    lastRequest().answer(401, {});
    tick(0);
    lastRequest().answer(200, { conn_id: 'second', channels: [] });
    assert.equal(lastSocket().url, 'ws://server/ws?conn_id=second&resume=1');
});
