/** Server-sent events: the second transport, between websocket and long-polling. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { sibling } from '../../../static/channelstream/src/choice.js';
import { afterStream } from '../../../static/channelstream/src/reconnect.js';
import {
    FakeEventSource, FakeRequest, FakeSocket, connected, install, lastRequest, lastSocket, lastStream, page, record,
    uninstall,
} from '../support/fakes.mjs';

beforeEach(() => {
    install();
    globalThis.EventSource = FakeEventSource;
});
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const attached = (from = 0, more = {}) => [{
    type: 'attached', conn_id: 'first', message: {}, unknown: [],
    streams: { demo: { epoch: 'aaaaaaaa', from, offset: 9, recovered: true, ...more } },
}];
const frame = (offset) => ({ type: 'message', channel: 'demo', uuid: `${offset}`, message: {}, offset });
const queryOf = (url) => Object.fromEntries(new URL(url, 'http://page').searchParams);
const offsets = (made) => made.messages.map(({ offset }) => offset);

/** A connection whose only or first transport is a stream that has received offset 1. */
function streaming(settings = {}) {
    const made = connected({ transports: ['sse', 'longpoll'], ...settings });
    lastStream().accept();
    lastStream().event('attached', attached());
    lastStream().frame(frame(1), '1e.1.aaaaaaaa.1');
    return made;
}

test('a websocket that cannot open is replaced by a stream, and tried again meanwhile', () => {
    const made = connected();
    lastSocket().drop(1006);
    tick(0);
    assert.equal(lastStream().url, '//server/sse?conn_id=first');
    lastStream().accept();
    assert.equal(made.transport, null);
    lastStream().event('attached', attached());
    assert.equal(made.transport, 'sse');
    lastStream().frame(frame(1), '1e.1.aaaaaaaa.1');
    tick(5000);
    const probe = lastSocket();
    assert.notEqual(queryOf(probe.url).conn_id, 'first');
    probe.accept();
    probe.drop(1000);
    assert.equal(lastStream().readyState, 2, 'frames wait on the server from now on');
    assert.deepEqual(queryOf(lastSocket().url), {
        conn_id: 'first', resume: '1', since: '1e.1.aaaaaaaa.1', positions: '{"demo":"aaaaaaaa.1"}',
    });
    lastSocket().accept();
    lastSocket().frame(attached(1));
    assert.deepEqual([made.transport, made.state], ['websocket', 'connected']);
});

test('the stream goes on if the socket does not open after a successful probe', () => {
    const made = connected();
    lastSocket().drop(1006);
    tick(0);
    lastStream().event('attached', attached());
    tick(5000);
    lastSocket().accept();
    lastSocket().drop(1000);
    lastSocket().drop(1006);
    assert.equal(FakeEventSource.opened.length, 2);
    lastStream().event('attached', attached());
    assert.deepEqual([made.transport, made.state], ['sse', 'connected']);
});

test('frames and elements arrive, and the page sees frames only', () => {
    const made = streaming();
    lastStream().event('subscribed', [{ type: 'subscribed', channel: 'news', epoch: 'b', offset: 4, message: {} }]);
    lastStream().frame({ ...frame(5), channel: 'news' }, '1e.2.b.5');
    lastStream().frame(frame(1), '1e.2.aaaaaaaa.1');
    assert.deepEqual(offsets(made), [1, 5]);
    assert.equal(made.calls.at(-1), 'listenOpened');
});

test('a broken stream is opened again with its cursor and positions, after the wait of the library', () => {
    const made = streaming();
    const closes = record(made, 'close');
    lastStream().drop();
    assert.equal(lastStream().readyState, 2, 'the browser does not connect by itself');
    assert.deepEqual(closes, [['close', { transport: 'sse', code: 1006, reason: '', clean: false }]]);
    tick(1900);
    assert.equal(FakeEventSource.opened.length, 1);
    tick(100);
    assert.deepEqual(queryOf(lastStream().url), {
        conn_id: 'first', since: '1e.1.aaaaaaaa.1', positions: '{"demo":"aaaaaaaa.1"}',
    });
    lastStream().accept();
    lastStream().event('attached', attached(0));
    [1, 2].forEach((offset) => lastStream().frame(frame(offset), `1e.2.aaaaaaaa.${offset}`));
    assert.deepEqual(offsets(made), [1, 2]);
    assert.equal(made.calls.filter((name) => name === 'listenError').length, 1);
});

test('a refused stream is replaced by long-polling at once, which learns the reason', () => {
    const made = connected({ transports: ['sse', 'longpoll'] });
    lastStream().refuse();
    tick(0);
    assert.equal(lastRequest().url, '//server/listen?conn_id=first&resume=1');
    lastRequest().answer(200, [frame(1)]);
    assert.equal(made.transport, 'longpoll');
    lastRequest().fail();
    tick(2000);
    assert.equal(FakeEventSource.opened.length, 1, 'a server without streams is not asked again');
    page.network(true);
    lastRequest().answer(401, {});
    tick(0);
    lastRequest().answer(200, { conn_id: 'second', channels: [] });
    assert.equal(FakeEventSource.opened.length, 2, 'a new network may have a new server');
});

test('without long-polling a refused stream requests a new id', () => {
    connected({ transports: ['sse'] });
    lastStream().refuse();
    tick(2000);
    assert.equal(lastRequest().url, '/app/connect');
});

test('an empty stream means that the server is busy, so the client waits longer', () => {
    const made = connected({ transports: ['sse', 'longpoll'] });
    lastStream().accept();
    lastStream().drop();
    tick(4999);
    assert.equal(FakeEventSource.opened.length, 1);
    tick(1);
    assert.equal(FakeEventSource.opened.length, 2);
    lastStream().event('attached', attached());
    assert.equal(made.state, 'connected');
});

test('a proxy that holds the stream back is detected', () => {
    const made = connected({ transports: ['sse', 'longpoll'] });
    lastStream().accept();
    tick(5000);
    assert.equal(lastStream().readyState, 2);
    tick(0);
    lastRequest().answer(200, [frame(1)]);
    assert.equal(made.transport, 'longpoll');
});

for (const [code, reason, state, why] of [
    [4001, 'taken over by another socket', 'disconnected', 'taken-over'],
    [4004, 'signed out', 'disconnected', 'ended'],
    [4006, 'blocked', 'disconnected', 'ended'],
]) {
    test(`an end with ${code} is final`, () => {
        const made = streaming();
        const states = record(made, 'state');
        lastStream().event('end', { code, reason, reconnect: false });
        tick(60_000);
        assert.deepEqual([made.state, states.at(-1)[1].reason], [state, why]);
        assert.equal(FakeEventSource.opened.length, 1);
    });
}

test('an end of a restarting server sets the time to reconnect', () => {
    const made = streaming();
    const closes = record(made, 'close');
    lastStream().event('end', { code: 1012, reason: 'server is restarting; retry after 7000 ms', reconnect: true });
    assert.equal(closes[0][1].clean, true);
    tick(6999);
    assert.equal(FakeEventSource.opened.length, 1);
    tick(1);
    assert.equal(FakeEventSource.opened.length, 2);
});

test('an end without a readable reason is an ordinary loss', () => {
    streaming();
    lastStream().event('end', null);
    tick(2000);
    assert.equal(FakeEventSource.opened.length, 2);
});

test('the end of a connection that the server does not have any more requests a new id', () => {
    streaming();
    lastStream().event('end', { code: 1000, reason: '', reconnect: false });
    tick(0);
    assert.equal(lastRequest().url, '/app/connect');
});

test('after a long silence the stream is opened again without a report, and fails if nothing arrives', () => {
    const made = streaming();
    const events = record(made, 'open', 'close', 'state');
    tick(120_000);
    assert.equal(FakeEventSource.opened.length, 2);
    assert.equal(FakeEventSource.opened[0].readyState, 2);
    lastStream().accept();
    lastStream().event('attached', attached());
    lastStream().frame(frame(2), '1e.2.aaaaaaaa.2');
    assert.deepEqual([events, offsets(made)], [[], [1, 2]]);
    tick(120_000);
    tick(5000);
    assert.deepEqual(events.map(([name]) => name), ['state', 'close']);
    assert.equal(events[1][1].clean, false);
});

test('the silence is an option', () => {
    streaming({ silenceTimeoutMs: 30_000 });
    tick(30_000);
    assert.equal(FakeEventSource.opened.length, 2);
});

test('a page that becomes visible opens a quiet stream again', () => {
    streaming();
    tick(10_000);
    page.look('visible');
    assert.equal(FakeEventSource.opened.length, 1, 'something has arrived recently');
    tick(10_000);
    page.look('visible');
    assert.equal(FakeEventSource.opened.length, 2);
});

test('lists that cannot be read are ignored', () => {
    const made = streaming();
    for (const data of ['{', '7', 'null', '{"type": "message"}']) {
        lastStream().listeners.message({ type: 'message', data, lastEventId: '' });
    }
    assert.deepEqual([offsets(made), made.state], [[1], 'connected']);
});

test('closing ends the stream without a report', () => {
    const made = streaming();
    const events = record(made, 'close');
    made.closeConnection();
    lastStream().event('end', { code: 4004 });
    assert.deepEqual([events, lastStream().readyState], [[], 2]);
});

test('the option transports selects and orders', () => {
    const first = (settings) => {
        const count = [FakeSocket, FakeEventSource].map(({ opened }) => opened.length);
        connected(settings);
        const [sockets, streams] = [FakeSocket, FakeEventSource].map(({ opened }, at) => opened.length - count[at]);
        return sockets ? 'websocket' : streams ? 'sse' : 'longpoll';
    };
    assert.equal(first({}), 'websocket');
    assert.equal(first({ noWebsocket: true }), 'longpoll');
    assert.equal(first({ websocketUrl: '' }), 'sse');
    assert.equal(first({ transports: ['sse', 'websocket'] }), 'sse');
    assert.equal(first({ transports: ['longpoll', 'websocket'] }), 'longpoll');
    assert.equal(first({ transports: ['sse'], resume: false }), 'longpoll', 'a stream needs positions');
    assert.equal(first({ websocketUrl: '', longPollUrl: '//server/other' }), 'longpoll', 'the address is unknown');
    assert.equal(first({ websocketUrl: '', longPollUrl: '//server/other', sseUrl: '//server/events' }), 'sse');
    assert.equal(lastStream().url, '//server/events?conn_id=first');
    assert.equal(first({ transports: null }), 'longpoll');
});

test('websockets are not tried while a preferred transport works', () => {
    connected({ transports: ['longpoll', 'websocket'] });
    lastRequest().answer(200, [frame(1)]);
    tick(400_000);
    assert.equal(FakeSocket.opened.length, 0);
});

test('a browser that cannot open the address uses another transport', () => {
    globalThis.EventSource = class { constructor() { throw new SyntaxError('an invalid address'); } };
    connected({ transports: ['sse', 'longpoll'] });
    tick(0);
    tick(0);
    assert.equal(lastRequest().url, '//server/listen?conn_id=first&resume=1');
});

test('the address of a stream is derived from that of long-polling', () => {
    assert.equal(sibling('https://host/prefix/listen', 'sse'), 'https://host/prefix/sse');
    assert.equal(sibling('/listen?site=a/listen', 'sse'), '/sse?site=a/listen');
    assert.equal(sibling('/listen#top', 'token'), '/token#top');
    assert.equal(sibling('https://host/poll', 'sse'), '');
    assert.equal(sibling('https://listen/', 'sse'), '');
    assert.equal(sibling('', 'sse'), '');
});

const end = {
    code: 1006, reason: '', opened: true, empty: false, refused: false, clean: false, resumed: true, lostForMs: 0,
    graceMs: 30_000, other: 'longpoll',
};

for (const [name, how, expected] of [
    ['a lost stream resumes its id', {}, 'resume sse'],
    ['a stream that did not open', { opened: false }, 'resume longpoll'],
    ['a stream that did not open, without another transport', { opened: false, other: undefined }, 'resume sse'],
    ['a stream that did not open, before a websocket', { opened: false, other: 'websocket' }, 'resume websocket'],
    ['a stream with a new id that did not open', { opened: false, resumed: false }, 'resume longpoll now'],
    ['an empty stream', { opened: false, empty: true }, 'resume sse'],
    ['a refused stream', { opened: false, refused: true }, 'resume longpoll now'],
    ['a refused stream without another transport', { opened: false, refused: true, other: undefined }, 'connect'],
    ['a connection that expired meanwhile', { lostForMs: 30_001 }, 'connect'],
    ['a connection that is to connect again', { code: 4005 }, 'connect now'],
]) {
    test(`${name}: ${expected}`, () => {
        const { action, transport, now } = afterStream({ ...end, ...how });
        assert.equal([action, transport, now && 'now'].filter(Boolean).join(' '), expected);
    });
}

test('polls are not sent while a stream is open', () => {
    streaming();
    assert.deepEqual(FakeRequest.sent.map(({ url }) => url), ['/app/connect']);
});
