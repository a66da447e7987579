import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { FakeRequest, FakeSocket, connected, install, lastRequest, thrown, uninstall } from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const polling = () => connected({ noWebsocket: true });

/** Answers a poll after a wait. */
function answer(list) {
    tick(2000);
    lastRequest().answer(200, list);
    tick(0);
}

test('the client sends one poll after the other, and their messages reach the page', () => {
    const made = polling();
    assert.deepEqual([lastRequest().verb, lastRequest().url], ['GET', '//server/listen?conn_id=first&resume=1']);
    assert.deepEqual(made.calls, ['connect', 'listenOpened']);
    answer([{ uuid: 'a' }]);
    answer([]);
    answer([{ uuid: 'b' }, { uuid: 'c' }]);
    assert.deepEqual(made.messages.map(({ uuid }) => uuid), ['a', 'b', 'c']);
    assert.equal(FakeRequest.sent.length, 5);
    assert.equal(FakeSocket.opened.length, 0);
    assert.equal(made.calls.filter((name) => name === 'listenOpened').length, 1);
});

test('a failed poll is repeated with the same id', () => {
    const made = polling();
    for (const fail of [(r) => r.fail(), (r) => r.answer(502, '<html>'), (r) => r.answer(200, '<html>')]) {
        fail(lastRequest());
        assert.equal(made.connected, false);
        const count = FakeRequest.sent.length;
        tick(10_000);
        assert.equal(FakeRequest.sent.length, count + 1);
        assert.equal(lastRequest().url, '//server/listen?conn_id=first&resume=1');
    }
    answer([{ uuid: 'a' }]);
    assert.equal(made.connected, true);
    assert.equal(made.messages.length, 1);
});

test('a response resets the waits', () => {
    polling();
    for (const wait of [2000, 4000]) {
        lastRequest().fail();
        tick(wait);
        assert.equal(lastRequest().readyState, 1);
    }
    answer([{ uuid: 'a' }]);
    lastRequest().fail();
    tick(2000);
    assert.equal(lastRequest().readyState, 1);
});

test('after a 401 the client connects again, immediately if the id had worked', () => {
    const made = polling();
    answer([]);
    lastRequest().answer(401, {});
    tick(0);
    assert.equal(lastRequest().url, '/app/connect');
    lastRequest().answer(200, { conn_id: 'second', channels: [] });
    assert.equal(lastRequest().url, '//server/listen?conn_id=second&resume=1');
    lastRequest().answer(401, {});
    tick(1000);
    assert.equal(lastRequest().url, '//server/listen?conn_id=second&resume=1');
    tick(1000);
    assert.equal(lastRequest().url, '/app/connect');
    assert.equal(made.calls.filter((name) => name === 'listenError').length, 2);
});

test('the client waits after an immediate empty response', () => {
    polling();
    lastRequest().answer(200, []);
    tick(400);
    assert.equal(FakeRequest.sent.length, 2);
    tick(1100);
    assert.equal(FakeRequest.sent.length, 3);
});

test('closing ends the wait after an immediate empty response', () => {
    const made = polling();
    lastRequest().answer(200, []);
    made.closeConnection();
    tick(600_000);
    assert.equal(FakeRequest.sent.length, 2);
});

test('an exception of the page does not end the polling', () => {
    const made = polling();
    made.listenMessageCallback = () => { throw new Error('of the page'); };
    lastRequest().answer(200, [{ uuid: 'a' }]);
    assert.deepEqual(thrown, ['of the page']);
    assert.equal(FakeRequest.sent.length, 3);
});

test('closing aborts the poll without a report', () => {
    const made = polling();
    const poll = lastRequest();
    made.closeConnection();
    assert.equal(poll.aborted, true);
    poll.answer(200, [{ uuid: 'late' }]);
    tick(600_000);
    assert.deepEqual(made.messages, []);
    assert.equal(made.calls.at(-1), 'connectionClosed');
});

test('the next poll is sent immediately and without a timer, which browsers delay in hidden pages', () => {
    polling();
    tick(5000);
    lastRequest().answer(200, []);
    assert.equal(FakeRequest.sent.length, 3);
    lastRequest().answer(200, [{ uuid: 'a' }]);
    assert.equal(FakeRequest.sent.length, 4);
});

test('the timeout of a poll is three times the longest wait of the server', () => {
    polling();
    assert.equal(lastRequest().timeout, 120_000);
    lastRequest().answer(200, [{ uuid: 'a' }]);
    assert.equal(lastRequest().timeout, 120_000, 'a response with frames does not count');
    tick(5000);
    lastRequest().answer(200, []);
    assert.equal(lastRequest().timeout, 15_000);
    tick(20_000);
    lastRequest().answer(200, []);
    assert.equal(lastRequest().timeout, 60_000);
    tick(2000);
    lastRequest().answer(200, []);
    assert.equal(lastRequest().timeout, 60_000);
});

test('a resumed connection opens with the first response, unless that was immediate and empty', () => {
    const made = polling();
    lastRequest().fail();
    tick(2000);
    assert.equal(made.connected, false);
    lastRequest().answer(200, []);
    assert.equal(made.connected, false, 'a stopping server sends such responses');
    tick(1500);
    lastRequest().answer(200, []);
    assert.equal(made.connected, true);
});

test('a browser without websockets uses long-polling', () => {
    delete globalThis.WebSocket;
    connected();
    assert.equal(lastRequest().url, '//server/listen?conn_id=first&resume=1');
});
