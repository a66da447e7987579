/** Events of the page and its network. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import {
    FakeRequest, FakeSocket, connected, connection, install, lastRequest, lastSocket, page, record, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);

/** A socket whose server sends a heartbeat every five seconds. */
function beating(settings) {
    const made = connected(settings);
    lastSocket().accept();
    for (let beat = 0; beat < 3; beat += 1) {
        tick(5000);
        lastSocket().frame([]);
    }
    return made;
}

/** A connection after five failures in a row, with half a minute to wait. */
function waiting() {
    const made = connected();
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1006);
    made.graceTimeMs = 3_600_000;
    while (made._retry.backoff.failures < 6) {
        tick(1000);
        if (lastSocket().readyState === 0) {
            lastSocket().drop(1006);
        }
        if (lastRequest().readyState === 1) {
            lastRequest().fail();
        }
    }
    tick(2000);
    return made;
}

const attempts = () => FakeSocket.opened.length + FakeRequest.sent.length;

for (const [name, event] of [
    ['becomes visible', () => { page.look('hidden'); page.look('visible'); }],
    ['was frozen', () => page.wake()],
    ['is online again', () => page.network(true)],
]) {
    test(`a page that ${name} reconnects immediately`, () => {
        waiting();
        const count = attempts();
        event();
        tick(0);
        assert.equal(attempts(), count + 1);
    });
}

test('a hidden page continues to wait and to listen', () => {
    waiting();
    const count = attempts();
    page.look('hidden');
    tick(0);
    assert.equal(attempts(), count);
    const made = beating();
    page.look('hidden');
    lastSocket().frame([{ uuid: 'a' }]);
    assert.equal(made.messages.length, 1);
});

test('events cannot make attempts too frequent', () => {
    waiting();
    const count = attempts();
    for (let turn = 0; turn < 100; turn += 1) {
        page.look('visible');
        tick(100);
        if (lastSocket().readyState === 0) {
            lastSocket().drop(1006);
        }
        if (lastRequest().readyState === 1) {
            lastRequest().fail();
        }
    }
    assert.ok(attempts() - count <= 11, `${attempts() - count} attempts in ten seconds`);
});

test('attempts are rare while the browser reports that it is offline', () => {
    connected();
    lastSocket().accept();
    lastSocket().frame([]);
    page.network(false);
    lastSocket().drop(1006);
    const count = attempts();
    tick(59_999);
    assert.equal(attempts(), count);
    tick(1);
    assert.equal(attempts(), count + 1);
});

test('a socket that is alive after the network was lost stays open', () => {
    const made = beating();
    const events = record(made, 'state', 'close');
    page.network(false);
    tick(4000);
    lastSocket().frame([]);
    tick(5000);
    lastSocket().frame([]);
    page.network(true);
    tick(5000);
    lastSocket().frame([]);
    assert.deepEqual(events, []);
    assert.equal(FakeSocket.opened.length, 1);
});

test('a socket that died while the page was hidden is replaced soon afterwards', () => {
    const made = beating();
    const socket = lastSocket();
    tick(4000);
    page.look('visible');
    tick(2999);
    assert.equal(socket.readyState, 1, 'the next heartbeat may still arrive');
    tick(1);
    assert.equal(socket.readyState, 3);
    assert.equal(made.state, 'reconnecting');
    assert.equal(socket.sent.at(-1), '{"type":"heartbeat"}');
});

test('a socket without heartbeats stays open when the page becomes visible', () => {
    connected();
    lastSocket().accept();
    lastSocket().frame([{ uuid: 'a' }]);
    page.look('visible');
    page.network(false);
    page.network(true);
    tick(600_000);
    assert.equal(lastSocket().readyState, 1);
    assert.equal(FakeSocket.opened.length, 1);
});

test('a poll that takes too long is replaced when the page becomes visible', () => {
    const made = connected({ noWebsocket: true });
    tick(5000);
    lastRequest().answer(200, []);
    const poll = lastRequest();
    tick(3000);
    page.wake();
    tick(2999);
    assert.equal(poll.aborted, false, 'polls take slightly more than five seconds');
    tick(1);
    assert.equal(poll.aborted, true);
    assert.notEqual(lastRequest(), poll);
    poll.answer(200, [{ uuid: 'late' }]);
    assert.deepEqual(made.messages, []);
    assert.equal(made.state, 'connected');
    const second = lastRequest();
    tick(10_000);
    page.wake();
    tick(0);
    assert.equal(second.aborted, true);
});

test('a poll that is answered in time is not replaced', () => {
    connected({ noWebsocket: true });
    tick(5000);
    lastRequest().answer(200, []);
    page.wake();
    tick(5000);
    lastRequest().answer(200, []);
    const poll = lastRequest();
    tick(4000);
    assert.equal(lastRequest(), poll);
    assert.equal(poll.aborted, false);
});

test('a poll of unknown duration is not replaced', () => {
    connected({ noWebsocket: true });
    const poll = lastRequest();
    tick(60_000);
    page.wake();
    assert.equal(lastRequest(), poll);
});

for (const noWebsocket of [false, true]) {
    const over = noWebsocket ? 'long-polling' : 'websocket';
    const current = noWebsocket ? lastRequest : lastSocket;
    const opened = () => (noWebsocket ? FakeRequest.sent : FakeSocket.opened).length;

    test(`leaving a page ends listening over ${over} without a report, and returning resumes it with the same id`, () => {
        const made = connected({ noWebsocket });
        if (!noWebsocket) {
            lastSocket().accept();
        }
        const seen = [];
        made.on('state', ({ state, reason }) => seen.push(`${state}: ${reason}`));
        const calls = made.calls.length;
        page.hide({ persisted: true });
        assert.ok(noWebsocket ? current().aborted : current().readyState === 3);
        const count = opened();
        tick(600_000);
        assert.equal(opened(), count, 'no attempt while the page is hidden');
        assert.equal(made.calls.length, calls);
        page.show();
        assert.equal(opened(), count + 1);
        assert.match(current().url, /conn_id=first/);
        if (noWebsocket) {
            current().answer(200, [{ uuid: 'missed' }]);
        } else {
            current().accept();
            current().frame([{ uuid: 'missed' }]);
        }
        assert.equal(made.messages.length, 1);
        assert.deepEqual(seen, ['reconnecting: suspended', 'connected: open']);
    });
}

test('a frozen page closes its socket and does not disconnect', () => {
    const made = connected({ disconnectOnPagehide: true });
    lastSocket().accept();
    page.freeze();
    assert.equal(lastSocket().readyState, 3);
    assert.deepEqual(page.beacons, []);
    tick(600_000);
    assert.equal(FakeSocket.opened.length, 1);
    page.wake();
    assert.equal(FakeSocket.opened.length, 2);
    lastSocket().accept();
    lastSocket().frame([{ uuid: 'missed' }]);
    assert.equal(made.messages.length, 1);
});

test('a page that returns late receives a new id', () => {
    connected();
    lastSocket().accept();
    lastSocket().frame([]);
    page.hide({ persisted: true });
    tick(600_000);
    page.show();
    lastSocket().accept();
    lastSocket().drop(1000);
    tick(0);
    assert.equal(lastRequest().url, '/app/connect');
});

test('a page that was left while it requested an id requests it again', () => {
    const made = connection();
    made.connect();
    page.hide({ persisted: true });
    assert.equal(lastRequest().aborted, true);
    page.show();
    tick(0);
    assert.equal(FakeRequest.sent.length, 2);
    lastRequest().answer(200, { conn_id: 'first', channels: [] });
    lastSocket().accept();
    assert.equal(made.state, 'connected');
});

test('a page that was left while it waited for an attempt tries immediately when it returns', () => {
    waiting();
    page.hide({ persisted: true });
    const count = attempts();
    page.show();
    assert.equal(attempts(), count + 1);
});

test('a page that was left and frozen resumes once', () => {
    connected();
    lastSocket().accept();
    page.hide({ persisted: true });
    page.freeze();
    page.wake();
    page.show();
    assert.equal(FakeSocket.opened.length, 2);
});

test('a pageshow event without a pagehide event changes nothing', () => {
    connected();
    lastSocket().accept();
    page.show();
    assert.equal(FakeSocket.opened.length, 1);
    assert.equal(lastSocket().readyState, 1);
});

test('a closed page disconnects if the option is on', () => {
    for (const [settings, persisted, expected] of [
        [{}, false, []],
        [{ disconnectOnPagehide: true }, true, []],
        [{ disconnectOnPagehide: true, disconnectUrl: '' }, false, []],
        [{ disconnectOnPagehide: true }, false, [['//server/disconnect?via=app&conn_id=first', { conn_id: 'first' }]]],
    ]) {
        const made = connected(settings);
        page.hide({ persisted });
        assert.deepEqual(page.beacons, expected);
        made.closeConnection();
    }
});

test('a closed connection ignores events of the page', () => {
    const made = connected({ disconnectOnPagehide: true });
    lastSocket().accept();
    made.closeConnection();
    const count = attempts();
    page.network(false);
    page.network(true);
    page.look('visible');
    page.hide({ persisted: false });
    page.show();
    tick(600_000);
    assert.equal(attempts(), count);
    assert.deepEqual(page.beacons, []);
});
