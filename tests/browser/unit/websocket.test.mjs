import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import {
    FakeRequest, FakeSocket, connected, connection, install, lastRequest, lastSocket, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);

test('frames reach the page, heartbeats do not', () => {
    const made = connected();
    assert.equal(lastSocket().url, 'ws://server/ws?conn_id=first&resume=1');
    assert.equal(made.websocket, lastSocket());
    lastSocket().accept();
    assert.equal(made.connected, true);
    lastSocket().frame([]);
    lastSocket().frame([{ uuid: 'a' }]);
    lastSocket().frame([{ uuid: 'b' }, { uuid: 'c' }]);
    assert.deepEqual(made.messages.map(({ uuid }) => uuid), ['a', 'b', 'c']);
});

test('a heartbeat is sent every ten seconds, and none after the end', () => {
    const made = connected();
    const socket = lastSocket();
    socket.accept();
    tick(20_000);
    assert.deepEqual(socket.sent, ['{"type":"heartbeat"}', '{"type":"heartbeat"}']);
    made.closeConnection();
    tick(20_000);
    assert.equal(socket.sent.length, 2);
});

test('a lost socket reconnects with the same id, and a frame resets the wait', () => {
    const made = connected();
    for (let round = 0; round < 5; round += 1) {
        lastSocket().accept();
        lastSocket().frame([]);
        lastSocket().drop(1006);
        assert.equal(made.connected, false);
        const count = FakeSocket.opened.length;
        tick(2000);
        assert.equal(FakeSocket.opened.length, count + 1);
        assert.equal(lastSocket().url, 'ws://server/ws?conn_id=first&resume=1');
        assert.equal(made.websocket, lastSocket());
    }
    assert.equal(FakeRequest.sent.length, 1);
});

test('a socket that carried frames and was closed in order reconnects with its id', () => {
    connected();
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1000);
    tick(2000);
    assert.equal(FakeSocket.opened.length, 2);
    assert.equal(FakeRequest.sent.length, 1);
});

test('an id that the server does not know any more is replaced immediately', () => {
    const made = connected();
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1001);
    tick(2000);
    lastSocket().accept();
    lastSocket().drop(1000);
    tick(0);
    assert.equal(lastRequest().url, '/app/connect');
    lastRequest().answer(200, { conn_id: 'second', channels: ['demo'] });
    assert.equal(lastSocket().url, 'ws://server/ws?conn_id=second&resume=1');
    assert.equal(made.connectionId, 'second');
});

test('the waits grow if the server closes sockets with new ids', () => {
    connected();
    const times = [];
    for (let round = 0; round < 4; round += 1) {
        lastSocket().accept();
        lastSocket().drop(1000);
        const asked = FakeRequest.sent.length;
        let waited = 0;
        while (FakeRequest.sent.length === asked) {
            tick(500);
            waited += 500;
        }
        times.push(waited);
        lastRequest().answer(200, { conn_id: `next${round}`, channels: [] });
    }
    assert.deepEqual(times, [2000, 4000, 8000, 16000]);
});

test('a connection that was taken over stays closed', () => {
    const made = connected();
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(4001);
    tick(600_000);
    assert.equal(FakeSocket.opened.length, 1);
    assert.equal(FakeRequest.sent.length, 1);
    assert.equal(made.calls.at(-1), 'listenClose');
});

test('without a server the client tries the same id during the grace time, then requests a new one', () => {
    connected();
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1006);
    const lostAt = Date.now();
    const attempts = [];
    while (Date.now() - lostAt < 150_000) {
        tick(500);
        if (lastSocket().readyState === 0) {
            attempts.push('websocket');
            lastSocket().drop(1006);
        }
        if (lastRequest().url !== '/app/connect' && lastRequest().readyState === 1) {
            attempts.push('longpoll');
            lastRequest().fail();
        }
        if (lastRequest().url === '/app/connect' && lastRequest().readyState === 1) {
            break;
        }
    }
    assert.deepEqual(attempts.slice(0, 4), ['websocket', 'longpoll', 'websocket', 'longpoll']);
    assert.equal(lastRequest().url, '/app/connect');
    assert.ok(Date.now() - lostAt > 30_000, 'not before the grace time ends');
});

test('a failed connect is repeated', () => {
    const made = connection();
    made.connect();
    for (const answer of [(r) => r.fail(), (r) => r.answer(503, {}), (r) => r.answer(200, 'not ours')]) {
        const count = FakeRequest.sent.length;
        answer(lastRequest());
        tick(60_000);
        assert.equal(FakeRequest.sent.length, count + 1);
    }
    assert.deepEqual(made.calls, ['connectError', 'connectError', 'connectError']);
});

test('without shouldReconnect nothing is repeated', () => {
    connected({ shouldReconnect: false });
    lastSocket().accept();
    lastSocket().drop(1006);
    tick(600_000);
    assert.deepEqual([FakeSocket.opened.length, FakeRequest.sent.length], [1, 1]);
});

test('silence after regular heartbeats means that the socket is lost', () => {
    connected();
    const socket = lastSocket();
    socket.accept();
    for (let beat = 0; beat < 3; beat += 1) {
        tick(15_000);
        socket.frame([]);
    }
    tick(44_000);
    assert.equal(socket.readyState, 1);
    tick(1000);
    assert.equal(socket.readyState, 3);
    tick(2000);
    assert.equal(FakeSocket.opened.length, 2);
    lastSocket().accept();
    tick(45_000);
    assert.equal(lastSocket().readyState, 3, 'the next socket knows the interval');
});

test('silence of the configured length ends a socket, also before its first frame', () => {
    connected({ silenceTimeoutMs: 7000 });
    const socket = lastSocket();
    socket.accept();
    tick(6999);
    assert.equal(socket.readyState, 1);
    tick(1);
    assert.equal(socket.readyState, 3);
});

test('after the machine was asleep, waiting frames arrive before the socket is closed', () => {
    connected();
    const socket = lastSocket();
    socket.accept();
    for (let beat = 0; beat < 3; beat += 1) {
        tick(5000);
        socket.frame([]);
    }
    // The clock jumps, so the timer fires very late.
    mock.timers.setTime(Date.now() + 3_600_000);
    tick(0);
    assert.equal(socket.readyState, 1);
    tick(1999);
    socket.frame([]);
    tick(14_000);
    assert.equal(socket.readyState, 1);
    tick(1000);
    assert.equal(socket.readyState, 3);
});

test('a frame that is not JSON is reported and has no other effect', () => {
    const made = connected();
    lastSocket().accept();
    lastSocket().onmessage({ type: 'message', data: '<html>' });
    lastSocket().frame([{ uuid: 'a' }]);
    assert.deepEqual(made.calls.slice(-1), ['listenError']);
    assert.equal(made.messages.length, 1);
    assert.equal(made.connected, true);
});

test('silence of a server without heartbeats does not end the socket', () => {
    connected();
    lastSocket().accept();
    lastSocket().frame([{ uuid: 'a' }]);
    tick(3_600_000);
    assert.equal(lastSocket().readyState, 1);
});

test('closing ends a scheduled reconnect and a connect in flight', () => {
    const made = connected();
    lastSocket().accept();
    lastSocket().drop(1006);
    made.closeConnection();
    tick(600_000);
    assert.equal(FakeSocket.opened.length, 1);
    made.connect();
    made.closeConnection();
    lastRequest().answer(200, { conn_id: 'late', channels: [] });
    assert.equal(FakeSocket.opened.length, 1);
});

test('a page that closes in its connect callback stays closed', () => {
    const made = connection();
    made.connectCallback = () => made.closeConnection();
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: [] });
    assert.equal(FakeSocket.opened.length, 0);
});

test('connecting again replaces the socket', () => {
    const made = connected();
    const socket = lastSocket();
    socket.accept();
    made.connect();
    assert.equal(socket.readyState, 3);
    lastRequest().answer(200, { conn_id: 'second', channels: [] });
    assert.equal(FakeSocket.opened.length, 2);
});
