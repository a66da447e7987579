/** Connection tokens: the page connects without a call to the application's views. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import {
    FakeEventSource, FakeRequest, FakeSocket, connection, install, lastRequest, lastSocket, lastStream, page, record,
    settled, uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token like those of the server's applications, valid for 100 s from now. */
function tokenOf(serial, claims = {}) {
    const now = Date.now() / 1000;
    return `${encoded({ alg: 'HS256' })}.${encoded({ sub: 'ada ÿ', iat: now, exp: now + 100, serial, ...claims })}.sig`;
}

const attached = (channels = ['demo'], from = 0) => [{
    type: 'attached', conn_id: 'x', message: {}, unknown: [],
    streams: Object.fromEntries(channels.map((name) => [name, { epoch: 'aaaaaaaa', from, offset: 9, recovered: true }])),
}];

/** A connection with tokens whose requests and tokens are recorded. `plan` may replace the answer to a request. */
function made(settings = {}, plan = () => undefined) {
    const asked = [];
    const issued = [];
    const getToken = async (request) => {
        asked.push(request);
        const planned = plan(asked.length, request);
        const token = planned === undefined ? tokenOf(asked.length) : planned;
        issued.push(token);
        return token;
    };
    const client = connection({ connectUrl: '', channels: [], getToken, ...settings });
    return { client, asked, issued, reasons: () => asked.map(({ reason }) => reason) };
}

/** The same, listening over a websocket. */
async function listening(settings, plan) {
    const all = made(settings, plan);
    all.client.connect();
    await settled();
    lastSocket().accept();
    lastSocket().frame(attached());
    return all;
}

test('the token is requested first, and the page chooses the id', async () => {
    const { client, asked, issued } = made();
    const states = record(client, 'state');
    const ready = client.connect();
    assert.deepEqual(asked, [{ user: 'ada', reason: 'connect' }]);
    await settled();
    assert.match(client.connectionId, UUID);
    assert.equal(lastSocket().url, `ws://server/ws?conn_id=${client.connectionId}&resume=1`);
    assert.deepEqual(lastSocket().protocols, ['channelstream.v1', `channelstream.token.${issued[0]}`]);
    lastSocket().accept();
    assert.equal(client.state, 'connecting', 'the server may refuse the token');
    lastSocket().frame(attached());
    assert.equal((await ready).transport, 'websocket');
    assert.deepEqual(states.map(([, { state }]) => state), ['connecting', 'connected']);
    assert.equal(FakeRequest.sent.length, 0, 'no view was called');
});

test('getToken need not be asynchronous, and beforeListeningCallback is called', async () => {
    const client = connection({ getToken: () => 'opaque' });
    let called = 0;
    client.beforeListeningCallback = () => { called += 1; };
    client.connect();
    await settled();
    assert.deepEqual([lastSocket().protocols.at(-1), called], ['channelstream.token.opaque', 1]);
});

test('the channels are those that the server names', async () => {
    const { client } = made({ infoUrl: '/app/info', subscribeUrl: '/app/subscribe' });
    const news = client.channel('news');
    const events = record(client, 'channels');
    client.connect();
    const joined = news.subscribe();
    await settled();
    lastSocket().accept();
    assert.equal(FakeRequest.sent.length, 0, 'the server may not have the connection yet');
    lastSocket().frame(attached(['demo', 'news']));
    await joined;
    assert.deepEqual([client.channels, news.state], [['demo', 'news'], 'subscribed']);
    assert.deepEqual(events, [['channels', { channels: ['demo', 'news'], added: ['demo', 'news'], removed: [] }]]);
    assert.deepEqual(FakeRequest.sent.map(({ url, body }) => [url, body.channels]), [['/app/info', ['news']]], 'for its history');
    lastSocket().frame([{ type: 'subscribed', channel: 'late', epoch: 'bbbbbbbb', offset: 0, message: {} }]);
    assert.deepEqual(client.channels, ['demo', 'news', 'late']);
});

test('channels that the token does not contain are requested from the application', async () => {
    const { client } = made({ channels: ['demo', 'extra'], subscribeUrl: '/app/subscribe' });
    client.connect();
    await settled();
    lastSocket().accept();
    lastSocket().frame(attached(['demo']));
    assert.deepEqual([lastRequest().url, lastRequest().body],
        ['/app/subscribe', { channels: ['extra'], conn_id: client.connectionId }]);
    lastRequest().answer(200, { channels: ['demo', 'extra'] });
    await settled();
    assert.deepEqual(client.channels, ['demo', 'extra']);
});

test('reconnects keep id and token', async () => {
    const { client, asked } = await listening();
    const id = client.connectionId;
    for (let turn = 0; turn < 3; turn += 1) {
        lastSocket().drop(1006);
        tick(2000);
        lastSocket().accept();
        lastSocket().frame(attached());
    }
    tick(31_000);
    assert.deepEqual([client.connectionId, asked.length, FakeSocket.opened.length], [id, 1, 4]);
    assert.equal(new URL(lastSocket().url).searchParams.get('positions'), '{"demo":"aaaaaaaa.0"}');
});

test('an absence longer than the grace time needs no call either', async () => {
    const { client, asked } = await listening({ longPollUrl: '' });
    const id = client.connectionId;
    for (let turn = 0; turn < 7; turn += 1) {
        lastSocket().drop(1006);
        tick(8000);
    }
    assert.deepEqual([client.connectionId, asked.length], [id, 1]);
});

test('an open websocket receives a new token at 80 % of the lifetime, give or take a tenth', async () => {
    const { client, reasons, issued } = await listening();
    const socket = lastSocket();
    // The random source of these tests is at its upper end.
    tick(89_999);
    assert.equal(reasons().length, 1);
    tick(2);
    await settled();
    assert.deepEqual(reasons(), ['connect', 'refresh']);
    assert.deepEqual(socket.sent.map(JSON.parse).filter(({ type }) => type === 'token'), [{ type: 'token', token: issued[1] }]);
    socket.frame([{ type: 'token', expires: 1, message: {} }]);
    assert.deepEqual([client.state, client.messages], ['connected', []]);
    mock.method(Math, 'random', () => 0);
    tick(90_001);
    await settled();
    tick(70_001);
    await settled();
    assert.equal(reasons().length, 4);
});

test('the lifetime follows the clock of the application', async () => {
    const far = Date.now() / 1000 + 1_000_000;
    const { reasons } = await listening({}, () => tokenOf(1, { iat: far, exp: far + 100 }));
    tick(90_001);
    await settled();
    assert.deepEqual(reasons(), ['connect', 'refresh']);
});

test('a token that was issued before is replaced in time', async () => {
    const now = Date.now() / 1000;
    const { reasons } = await listening({}, () => tokenOf(1, { iat: now - 900, exp: now + 100 }));
    tick(90_001);
    await settled();
    assert.deepEqual(reasons(), ['connect', 'refresh']);
});

for (const token of ['opaque', 'a.b.c', `a.${encoded(null)}.c`, `a.${encoded({ exp: 'soon' })}.c`, 'a.%.c']) {
    test(`a token without a readable lifetime is not replaced: ${token}`, async () => {
        const { reasons, client } = await listening({}, () => token);
        tick(10_000_000);
        await settled();
        assert.deepEqual([reasons(), client.state === 'failed'], [['connect'], false]);
    });
}

test('a poll and a stream are refreshed by a request', async () => {
    globalThis.EventSource = FakeEventSource;
    const { client, issued } = made({ transports: ['sse'] });
    client.connect();
    await settled();
    assert.equal(lastStream().url, `//server/sse?conn_id=${client.connectionId}&token=${issued[0]}`);
    lastStream().event('attached', attached());
    tick(90_001);
    await settled();
    assert.deepEqual([lastRequest().verb, lastRequest().url, lastRequest().body],
        ['POST', '//server/token', { conn_id: client.connectionId, token: issued[1] }]);
    lastRequest().answer(200, { expires: 1 });
    lastStream().drop();
    tick(2000);
    assert.equal(new URL(lastStream().url, 'http://page').searchParams.get('token'), issued[1]);
    const polls = made({ transports: ['longpoll'] });
    polls.client.connect();
    await settled();
    const poll = lastRequest();
    assert.equal(poll.url, `//server/listen?conn_id=${polls.client.connectionId}&token=${polls.issued[0]}&resume=1`);
    poll.answer(200, [...attached(), { type: 'cursor', cursor: '1e.1', message: {} }]);
    tick(90_001);
    await settled();
    assert.equal(lastRequest().url, '//server/token');
});

test('a refused refresh is repeated, and the session goes on', async () => {
    const { client, reasons } = await listening();
    const errors = record(client, 'error');
    tick(90_001);
    await settled();
    lastSocket().frame([{ type: 'token', error: 'expired', message: {} }]);
    assert.deepEqual(errors.map(([, { code, operation, status }]) => [code, operation, status]), [['refused', 'token', 401]]);
    tick(40_000);
    await settled();
    assert.deepEqual([reasons(), client.state], [['connect', 'refresh', 'refused'], 'connected']);
    lastSocket().frame([{ type: 'token', expires: 1, message: {} }]);
    tick(90_001);
    await settled();
    assert.deepEqual([reasons().length, client.state], [4, 'connected']);
});

test('failed requests for a refresh use up the time that is left, and then end the connection', async () => {
    const { client, reasons } = await listening({}, (count) => (count > 1 ? Promise.reject(new Error('down')) : undefined));
    const states = record(client, 'state');
    tick(90_001);
    await settled();
    tick(3000);
    await settled();
    assert.equal(reasons().length, 2);
    tick(400);
    await settled();
    assert.deepEqual([reasons().length, client.state], [3, 'connected']);
    tick(2300);
    await settled();
    assert.deepEqual([reasons(), client.state], [['connect', 'refresh', 'refresh', 'refresh'], 'failed']);
    assert.deepEqual(states.at(-1)[1], { state: 'failed', previous: 'connected', reason: 'failed' });
});

test('close code 4005 reconnects at once with a fresh token and the same id', async () => {
    const { client, reasons, issued } = await listening();
    const id = client.connectionId;
    lastSocket().drop(4005, 'token expired');
    tick(0);
    await settled();
    assert.deepEqual([reasons(), client.connectionId], [['connect', 'expired'], id]);
    assert.equal(lastSocket().protocols.at(-1), `channelstream.token.${issued[1]}`);
    lastSocket().accept();
    lastSocket().frame(attached());
    assert.equal(client.state, 'connected');
});

test('a server that ends each session with 4005 is not asked without waits', async () => {
    const { reasons } = await listening();
    for (let turn = 0; turn < 5; turn += 1) {
        lastSocket().drop(4005, 'token expired');
        tick(0);
        await settled();
    }
    assert.deepEqual(reasons(), ['connect', 'expired']);
});

test('without tokens 4005 requests a new id at once', () => {
    const client = connection();
    client.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: [] });
    lastSocket().accept();
    lastSocket().drop(4005, 'sign in again');
    tick(0);
    assert.deepEqual(FakeRequest.sent.map(({ url }) => url), ['/app/connect', '/app/connect']);
});

for (const [code, reason] of [[4004, 'signed out'], [4006, 'blocked']]) {
    test(`close code ${code} is final`, async () => {
        const { client, reasons } = await listening();
        const events = record(client, 'state', 'close');
        lastSocket().drop(code, reason);
        tick(600_000);
        await settled();
        assert.deepEqual(events, [
            ['state', { state: 'disconnected', previous: 'connected', reason: 'ended' }],
            ['close', { transport: 'websocket', code, reason, clean: true }],
        ]);
        assert.deepEqual([reasons(), FakeSocket.opened.length], [['connect'], 1]);
    });
}

test('a refused token is replaced at once, and three in a row are too many', async () => {
    const { client, reasons } = made({ transports: ['longpoll'] });
    const errors = record(client, 'error');
    const ready = client.connect();
    await settled();
    const id = client.connectionId;
    for (let turn = 0; turn < 3; turn += 1) {
        lastRequest().answer(401, { token: ['It expired 12 s ago.'] });
        tick(4000);
        await settled();
    }
    assert.deepEqual([reasons(), client.state, client.connectionId], [['connect', 'refused', 'refused'], 'failed', id]);
    assert.deepEqual(errors.map(([, { data }]) => data), Array(3).fill({ token: ['It expired 12 s ago.'] }));
    await assert.rejects(ready, { code: 'closed' });
    client.connect();
    await settled();
    lastRequest().answer(200, attached());
    assert.equal(client.state, 'connected', 'connect() starts again');
});

test('a token for another user than the id gets a new id', async () => {
    const { client } = made({ transports: ['longpoll'] });
    client.connect();
    await settled();
    const id = client.connectionId;
    lastRequest().answer(403, {});
    tick(4000);
    await settled();
    assert.notEqual(client.connectionId, id);
    assert.match(client.connectionId, UUID);
});

for (const [name, value] of [
    ['that fails', () => Promise.reject(new Error('no'))], ['that returns no text', () => 7], ['that returns nothing', () => null],
]) {
    test(`a getToken ${name} three times in a row ends in the state failed`, async () => {
        const { client, reasons } = made({}, value);
        const errors = record(client, 'error');
        const ready = client.connect();
        for (let turn = 0; turn < 5; turn += 1) {
            await settled();
            tick(8000);
        }
        assert.deepEqual([reasons(), client.state], [Array(3).fill('connect'), 'failed']);
        assert.deepEqual(errors.map(([, { operation, code }]) => [operation, code]), Array(3).fill(['token', 'answer']));
        await assert.rejects(ready, { code: 'closed' });
        assert.equal(FakeSocket.opened.length, 0);
    });
}

test('a getToken that never answers counts as a failure', async () => {
    const { client, reasons } = made({}, () => new Promise(() => {}));
    const errors = record(client, 'error');
    client.connect();
    await settled();
    tick(30_000);
    await settled();
    tick(4000);
    assert.deepEqual([reasons().length, errors[0][1].code], [2, 'answer']);
});

test('failures without a network do not count', async () => {
    const { client } = made({ maxReconnectDelayMs: 1000 }, (count) => (count < 6 ? null : undefined));
    page.navigator.onLine = false;
    client.connect();
    for (let turn = 0; turn < 6; turn += 1) {
        await settled();
        tick(1000);
    }
    assert.equal(client.state, 'connecting');
    assert.equal(FakeSocket.opened.length, 1);
});

test('without shouldReconnect the first failure is final', async () => {
    const { client, reasons } = made({ shouldReconnect: false }, () => null);
    client.connect();
    await settled();
    assert.deepEqual([client.state, reasons().length], ['disconnected', 1]);
});

test('a token that arrives after the end is not used', async () => {
    const { client } = made();
    client.connect();
    client.closeConnection();
    await settled();
    tick(60_000);
    assert.deepEqual([FakeSocket.opened.length, client.state], [0, 'disconnected']);
});

test('an expired token is replaced before the next attempt', async () => {
    const { client, reasons } = await listening();
    page.hide({ persisted: true });
    tick(200_000);
    await settled();
    assert.deepEqual(reasons(), ['connect']);
    page.show();
    await settled();
    assert.deepEqual(reasons(), ['connect', 'expired']);
    lastSocket().accept();
    lastSocket().frame(attached());
    assert.equal(client.state, 'connected');
});

test('over long-polling the websocket is tried without a probe, which the server would refuse', async () => {
    const { client } = made();
    client.connect();
    await settled();
    lastSocket().drop(1006);
    tick(0);
    const cursor = { type: 'cursor', cursor: '1e.1', message: {} };
    lastRequest().answer(200, [...attached(), cursor]);
    tick(5000);
    assert.equal(FakeSocket.opened.length, 1, 'a poll is in flight');
    lastRequest().answer(200, [cursor]);
    assert.equal(FakeSocket.opened.length, 2);
    assert.equal(new URL(lastSocket().url).searchParams.get('since'), '1e.1');
    lastSocket().accept();
    lastSocket().frame(attached());
    assert.equal(client.transport, 'websocket');
});
