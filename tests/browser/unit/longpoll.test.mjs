import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { FakeRequest, FakeSocket, connected, install, lastRequest, thrown, uninstall } from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const polling = () => connected({ noWebsocket: true });

/** An answer that was waited for. */
function answer(list) {
    tick(2000);
    lastRequest().answer(200, list);
    tick(0);
}

test('polls follow one another and their messages reach the page', () => {
    const made = polling();
    assert.deepEqual([lastRequest().verb, lastRequest().url], ['GET', '//server/listen?conn_id=first']);
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
        assert.equal(lastRequest().url, '//server/listen?conn_id=first');
    }
    answer([{ uuid: 'a' }]);
    assert.equal(made.connected, true);
    assert.equal(made.messages.length, 1);
});

test('an answer brings the waits back to their beginning', () => {
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

test('after a 401 it connects anew, at once when the id had worked', () => {
    const made = polling();
    answer([]);
    lastRequest().answer(401, {});
    tick(0);
    assert.equal(lastRequest().url, '/app/connect');
    lastRequest().answer(200, { conn_id: 'second', channels: [] });
    assert.equal(lastRequest().url, '//server/listen?conn_id=second');
    lastRequest().answer(401, {});
    tick(1000);
    assert.equal(lastRequest().url, '//server/listen?conn_id=second');
    tick(1000);
    assert.equal(lastRequest().url, '/app/connect');
    assert.equal(made.calls.filter((name) => name === 'listenError').length, 2);
});

test('a server that answers with nothing at once is not hammered', () => {
    polling();
    lastRequest().answer(200, []);
    tick(400);
    assert.equal(FakeRequest.sent.length, 2);
    tick(1100);
    assert.equal(FakeRequest.sent.length, 3);
});

test('closing ends the wait after an answer that came too soon', () => {
    const made = polling();
    lastRequest().answer(200, []);
    made.closeConnection();
    tick(600_000);
    assert.equal(FakeRequest.sent.length, 2);
});

test('what the page throws does not end the polling', () => {
    const made = polling();
    made.listenMessageCallback = () => { throw new Error('of the page'); };
    lastRequest().answer(200, [{ uuid: 'a' }]);
    assert.deepEqual(thrown, ['of the page']);
    assert.equal(FakeRequest.sent.length, 3);
});

test('closing aborts the poll in silence', () => {
    const made = polling();
    const poll = lastRequest();
    made.closeConnection();
    assert.equal(poll.aborted, true);
    poll.answer(200, [{ uuid: 'late' }]);
    tick(600_000);
    assert.deepEqual(made.messages, []);
    assert.equal(made.calls.at(-1), 'connectionClosed');
});

test('a poll follows at once and without a timer, which browsers hold back in hidden pages', () => {
    polling();
    tick(5000);
    lastRequest().answer(200, []);
    assert.equal(FakeRequest.sent.length, 3);
    lastRequest().answer(200, [{ uuid: 'a' }]);
    assert.equal(FakeRequest.sent.length, 4);
});

test('a poll may take as long as the server has let one wait, three times', () => {
    polling();
    assert.equal(lastRequest().timeout, 120_000);
    lastRequest().answer(200, [{ uuid: 'a' }]);
    assert.equal(lastRequest().timeout, 120_000, 'an answer with frames says nothing');
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

test('a resumed poll is announced with its first answer, unless that was hasty', () => {
    const made = polling();
    lastRequest().fail();
    tick(2000);
    assert.equal(made.connected, false);
    lastRequest().answer(200, []);
    assert.equal(made.connected, false, 'a server that is stopping answers so');
    tick(1500);
    lastRequest().answer(200, []);
    assert.equal(made.connected, true);
});

test('a browser without websockets polls', () => {
    delete globalThis.WebSocket;
    connected();
    assert.equal(lastRequest().url, '//server/listen?conn_id=first');
});
