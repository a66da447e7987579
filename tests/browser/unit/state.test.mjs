/** States, events, promises and errors of a connection. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { ChannelStreamConnection, ChannelStreamError, Emitter } from '../../../static/channelstream/src/index.js';
import {
    FakeRequest, FakeSocket, connected, connection, install, lastRequest, lastSocket, page, record, settled, thrown,
    uninstall,
} from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);
const states = (made) => {
    const seen = [];
    made.on('state', ({ previous, state, reason }) => seen.push(`${previous} > ${state}: ${reason}`));
    return seen;
};
const reply = (id) => lastRequest().answer(200, { conn_id: id, channels: ['demo'] });
const failsWith = (code, operation) => (error) => {
    assert.ok(error instanceof ChannelStreamError && error instanceof Error);
    assert.deepEqual([error.name, error.code, error.operation], ['ChannelStreamError', code, operation]);
    return true;
};

test('the states from connecting to the end', () => {
    const made = connection();
    const seen = states(made);
    assert.deepEqual([made.state, made.transport], ['disconnected', null]);
    made.connect();
    reply('first');
    lastSocket().accept();
    assert.deepEqual([made.state, made.transport, made.connected], ['connected', 'websocket', true]);
    lastSocket().frame([]);
    lastSocket().drop(1006);
    assert.deepEqual([made.state, made.transport, made.connected], ['reconnecting', null, false]);
    tick(2000);
    lastSocket().accept();
    assert.equal(made.state, 'reconnecting', 'the server may not know the id');
    lastSocket().frame([]);
    assert.equal(made.state, 'connected');
    made.closeConnection();
    made.closeConnection();
    assert.deepEqual(seen, [
        'disconnected > connecting: connect',
        'connecting > connected: open',
        'connected > reconnecting: lost',
        'reconnecting > connected: open',
        'connected > disconnected: closed',
    ]);
});

test('the state is connecting until the connection listens, despite failures', () => {
    const made = connection();
    const seen = states(made);
    made.connect();
    lastRequest().fail();
    tick(2000);
    reply('first');
    lastSocket().accept();
    lastSocket().drop(1000);
    tick(60_000);
    reply('second');
    lastSocket().accept();
    assert.deepEqual(seen.filter((line) => !line.includes('lost')), [
        'disconnected > connecting: connect',
        'connecting > connected: open',
        'connected > reconnecting: forgotten',
        'reconnecting > connected: open',
    ]);
});

test('a permanent end is reported with its reason', () => {
    const endings = [
        [{}, () => { lastSocket().accept(); lastSocket().drop(4001); }, 'taken-over'],
        [{ shouldReconnect: false }, () => { lastSocket().accept(); lastSocket().drop(1006); }, 'lost'],
        [{ shouldReconnect: false }, () => lastSocket().drop(1006), 'lost'],
    ];
    for (const [settings, end, reason] of endings) {
        const made = connected(settings);
        const seen = states(made);
        end();
        assert.deepEqual(seen.at(-1).split(' > ')[1], `disconnected: ${reason}`);
        tick(600_000);
        assert.equal(made.state, 'disconnected');
    }
    const made = connection({ shouldReconnect: false });
    const seen = states(made);
    made.connect();
    lastRequest().answer(403, {});
    assert.equal(seen.at(-1), 'connecting > disconnected: failed');
});

test('the events of a connection are in order', () => {
    const made = connection();
    const events = record(made, 'connect', 'open', 'close', 'retry', 'channels', 'error');
    const takeEvents = () => events.splice(0).map(([name, detail]) => {
        const rounded = 'delayMs' in detail ? { delayMs: Math.round(detail.delayMs) } : {};
        return detail instanceof Error ? [name, detail.message] : [name, { ...detail, ...rounded }];
    });
    made.connect();
    lastRequest().answer(503, 'busy');
    assert.deepEqual(takeEvents(), [
        ['retry', { action: 'connect', attempt: 1, delayMs: 2000 }],
        ['error', 'connect: status 503'],
    ]);
    tick(2000);
    const data = { conn_id: 'first', channels: ['demo', 'news'] };
    lastRequest().answer(200, data);
    assert.deepEqual(takeEvents(), [
        ['channels', { channels: ['demo', 'news'], added: ['news'], removed: [] }],
        ['connect', { connectionId: 'first', previousId: null, data }],
    ]);
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1012, 'server is restarting; retry after 2500 ms');
    tick(2500);
    lastSocket().accept();
    tick(499);
    assert.equal(made.connected, false);
    tick(1);
    assert.deepEqual(takeEvents(), [
        ['open', { transport: 'websocket', connectionId: 'first', resumed: false, gap: false }],
        ['retry', { action: 'resume', attempt: 1, delayMs: 2500 }],
        ['close', { transport: 'websocket', code: 1012, reason: 'server is restarting; retry after 2500 ms', clean: true }],
        ['open', { transport: 'websocket', connectionId: 'first', resumed: true, gap: false }],
    ]);
});

test('attempts are counted from the last success', () => {
    const made = connection();
    const retries = record(made, 'retry');
    made.connect();
    for (let turn = 0; turn < 3; turn += 1) {
        lastRequest().fail();
        tick(60_000);
    }
    reply('first');
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1006);
    tick(2000);
    lastSocket().accept();
    lastSocket().drop(1000);
    assert.deepEqual(retries.map(([, { action, attempt }]) => [action, attempt]),
        [['connect', 1], ['connect', 2], ['connect', 3], ['resume', 1], ['connect', 1]]);
});

test('the state is connecting after connect(), also after a retry', () => {
    const made = connection();
    made.connect();
    lastRequest().fail();
    tick(2000);
    reply('first');
    lastSocket().accept();
    made.connect();
    assert.equal(made.state, 'connecting');
});

test('a new id is reported with the previous one', () => {
    const made = connected();
    const events = record(made, 'connect', 'open');
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(1006);
    tick(2000);
    lastSocket().accept();
    lastSocket().drop(1000);
    tick(0);
    reply('second');
    lastSocket().accept();
    assert.deepEqual(events.map(([name]) => name), ['open', 'connect', 'open']);
    const [, [, { connectionId, previousId }], [, opened]] = events;
    assert.deepEqual([connectionId, previousId, opened.resumed, opened.gap], ['second', 'first', false, true]);
});

/** Ends of a transport, and whether they may have lost bytes. */
const ENDS = [
    ['a broken socket', () => lastSocket().drop(1006), true],
    ['a socket that was silent', () => tick(60_000), true, { silenceTimeoutMs: 60_000 }],
    ['a socket that the server closed for its stop', () => lastSocket().drop(1001), false],
    ['a socket that the server closed because it was slow', () => lastSocket().drop(4002), false],
    ['a socket that the page closed when the user left', () => { page.hide({ persisted: true }); page.show(); }, true],
    ['a poll without a response', () => lastRequest().fail(), true, { noWebsocket: true }],
    ['a poll that was refused', () => lastRequest().answer(503, ''), false, { noWebsocket: true }],
];

for (const [name, end, gap, settings] of ENDS) {
    test(`after ${name} there is ${gap ? 'a' : 'no'} gap, and only a gap causes a request to the application`, async () => {
        const made = connected({ ...settings, infoUrl: '/app/info' });
        made.channel('demo');
        const opened = record(made, 'open');
        const socket = !settings?.noWebsocket;
        if (socket) {
            lastSocket().accept();
        }
        end();
        tick(2000);
        if (socket) {
            lastSocket().accept();
            lastSocket().frame([]);
        } else {
            lastRequest().answer(200, [{ uuid: 'a' }]);
        }
        assert.deepEqual(opened.map(([, detail]) => detail.gap), [false, gap].slice(socket ? 0 : 1));
        const asked = FakeRequest.sent.filter(({ url }) => url === '/app/info');
        assert.deepEqual(asked.map(({ body }) => body.channels), gap ? [['demo']] : []);
    });
}

test('a first socket whose handshake got no response may have lost frames', () => {
    const made = connected();
    const opened = record(made, 'open');
    tick(5000);
    tick(0);
    assert.deepEqual(opened.map(([, { resumed, gap }]) => [resumed, gap]), [[false, true]]);
});

test('without channels or an infoUrl the client does not request information', () => {
    for (const [settings, channels] of [[{ infoUrl: '/app/info' }, []], [{}, ['demo']]]) {
        const made = connected(settings);
        channels.forEach((name) => made.channel(name));
        lastSocket().accept();
        lastSocket().drop(1006);
        tick(2000);
        const count = FakeRequest.sent.length;
        lastSocket().accept();
        lastSocket().frame([]);
        assert.equal(FakeRequest.sent.length, count);
        made.closeConnection();
    }
});

test('each frame causes one event of its type', () => {
    const made = connected();
    const types = ['message', 'message:edit', 'message:delete', 'presence', 'user_state_change'];
    const events = record(made, 'frame', ...types);
    lastSocket().accept();
    const frames = [...types, 'of a later server'].map((type) => ({ type, uuid: type, channel: 'demo' }));
    lastSocket().frame(frames);
    assert.deepEqual(events.filter(([name]) => name === 'frame').map(([, frame]) => frame), frames);
    assert.deepEqual(events.filter(([name]) => name !== 'frame').map(([name, frame]) => [name, frame.type]),
        types.map((type) => [type, type]));
});

test('connect() and ready() resolve when the connection first listens', async () => {
    const made = connection();
    const connecting = made.connect();
    const ready = made.ready();
    reply('first');
    lastSocket().accept();
    const opened = { transport: 'websocket', connectionId: 'first', resumed: false, gap: false };
    assert.deepEqual(await connecting, opened);
    assert.deepEqual(await ready, opened);
    assert.deepEqual(await made.ready(), opened);
    await assert.rejects(connection().ready(), failsWith('closed', 'ready'));
});

test('ready() fails when the connection is closed, and after its timeout', async () => {
    const made = connection();
    const connecting = made.connect();
    const late = made.ready(3000);
    tick(3000);
    await assert.rejects(late, failsWith('timeout', 'ready'));
    made.closeConnection();
    await assert.rejects(connecting, failsWith('closed', 'ready'));
    assert.equal(made._listeners.get('state').size, 0, 'no listener is left');
});

test('a call resolves with its response, and rejects with a complete error', async () => {
    const made = connected({ messageUrl: '/app/message', requestTimeoutMs: 7000 });
    lastSocket().accept();
    const sent = made.message({ text: 'hi' });
    assert.equal(lastRequest().timeout, 7000);
    lastRequest().answer(200, [{ uuid: 'm1' }]);
    assert.deepEqual(await sent, [{ uuid: 'm1' }]);

    const errors = record(made, 'error');
    const refused = made.message({});
    lastRequest().answer(422, { user: ['Missing data for required field.'] });
    await assert.rejects(refused, (error) => {
        assert.deepEqual([error.status, error.data], [422, { user: ['Missing data for required field.'] }]);
        return failsWith('refused', 'message')(error);
    });
    const lost = made.edit({});
    lastRequest().fail();
    await assert.rejects(lost, failsWith('network', 'messageEdit'));
    const slow = made.delete({});
    const request = lastRequest();
    tick(7000);
    request.fail();
    await assert.rejects(slow, failsWith('timeout', 'messageDelete'));
    assert.deepEqual(errors.map(([, { operation }]) => operation), ['message', 'messageEdit', 'messageDelete']);
});

test('ignored promises cause no unhandled rejections', async (context) => {
    const unhandled = [];
    const note = (error) => unhandled.push(error);
    process.on('unhandledRejection', note);
    context.after(() => process.off('unhandledRejection', note));
    const made = connected({ messageUrl: '/m', subscribeUrl: '/s', unsubscribeUrl: '/u', infoUrl: '/i', userStateUrl: '/t' });
    for (const call of [
        () => made.message({}), () => made.edit({}), () => made.delete({}), () => made.subscribe(['a']),
        () => made.unsubscribe(['a']), () => made.info(), () => made.updateUserState({}),
        () => made.channel('demo').publish({}), () => made.channel('demo').refresh(), () => made.disconnect(),
    ]) {
        call();
        lastRequest().answer(403, {});
        await settled();
    }
    connection().ready();
    made.connect();
    made.closeConnection();
    await settled();
    assert.deepEqual(unhandled, []);
});

test('a request that cannot be sent fails', async () => {
    class Broken extends FakeRequest {
        open() {
            throw new SyntaxError('no address');
        }
    }
    globalThis.XMLHttpRequest = Broken;
    const made = connection({ messageUrl: 'http://[' });
    await assert.rejects(made.message({}), failsWith('network', 'message'));
    made.connect();
    assert.deepEqual(made.calls, ['connectError']);
    globalThis.XMLHttpRequest = FakeRequest;
    tick(2000);
    reply('first');
    assert.equal(FakeSocket.opened.length, 1);
});

test('a response without an id is an error, and so is a response with status 400', () => {
    for (const [status, body, code] of [[200, {}, 'answer'], [200, 'sign in', 'answer'], [400, { conn_id: 'x' }, 'refused']]) {
        const made = connection();
        const errors = record(made, 'error');
        made.connect();
        lastRequest().answer(status, body);
        assert.deepEqual(errors.map(([, error]) => [error.code, error.status]), [[code, status]]);
        assert.deepEqual(made.calls, ['connectError']);
        made.closeConnection();
    }
});

test('the client respects Retry-After', () => {
    connection().connect();
    for (const status of [503, 429]) {
        lastRequest().responseHeaders = 'content-type: text/plain\r\nRetry-After: 20\r\n';
        lastRequest().answer(status, '');
        const count = FakeRequest.sent.length;
        tick(19_999);
        assert.equal(FakeRequest.sent.length, count);
        tick(1);
        assert.equal(FakeRequest.sent.length, count + 1);
    }
    lastRequest().responseHeaders = 'retry-after: 1000000\r\n';
    lastRequest().answer(503, '');
    const count = FakeRequest.sent.length;
    tick(300_000);
    assert.equal(FakeRequest.sent.length, count + 1, 'but within a limit');
});

test('a setting limits the waits', () => {
    connection({ increaseBounceIv: 100, maxReconnectDelayMs: 300 }).connect();
    for (const wait of [100, 200, 300, 300]) {
        lastRequest().fail();
        const count = FakeRequest.sent.length;
        tick(wait - 1);
        assert.equal(FakeRequest.sent.length, count);
        tick(1);
        assert.equal(FakeRequest.sent.length, count + 1);
    }
});

test('options set properties, and unknown options are refused', () => {
    const received = [];
    const made = new ChannelStreamConnection({
        username: 'ada', noWebsocket: true, listenMessageCallback: (list) => received.push(...list),
    });
    assert.deepEqual([made.username, made.noWebsocket], ['ada', true]);
    made.listenMessageCallback([1]);
    assert.deepEqual(received, [1]);
    for (const key of ['conectUrl', 'state', 'connect', '_retry', 'someCallback']) {
        assert.throws(() => new ChannelStreamConnection({ [key]: 1 }), { name: 'TypeError', message: new RegExp(key) });
    }
});

test('listeners can be added and removed, and an exception affects no other listener', () => {
    const emitter = new Emitter(['a', 'b']);
    const received = [];
    const off = emitter.on('a', (value) => { received.push(['first', value]); throw new Error('of a listener'); });
    emitter.once('a', (value) => received.push(['once', value]));
    const never = () => received.push(['never']);
    emitter.once('a', never);
    emitter.off('a', never);
    const last = (value) => received.push(['last', value]);
    emitter.on('a', last);
    emitter._emit('a', 1);
    off();
    emitter._emit('a', 2);
    emitter.off('a', last);
    emitter._emit('a', 3);
    assert.deepEqual(received, [['first', 1], ['once', 1], ['last', 1], ['last', 2]]);
    assert.deepEqual(thrown, ['of a listener']);
    assert.throws(() => emitter.on('c', () => {}), { name: 'TypeError', message: /no event "c".*a, b/ });
});

test('without reportError an exception of the page is thrown later, so that the browser reports it', () => {
    delete globalThis.reportError;
    const emitter = new Emitter(['a']);
    emitter.on('a', () => { throw new Error('of a listener'); });
    emitter._emit('a', 1);
    assert.throws(() => tick(0), { message: 'of a listener' });
});

test('a page that closes the connection in a callback receives no more events', () => {
    for (const leave of [
        (made) => { made.listenOpenedCallback = () => made.closeConnection(); },
        (made) => made.on('state', ({ state }) => state === 'connected' && made.closeConnection()),
    ]) {
        const made = connected();
        const opened = record(made, 'open');
        leave(made);
        lastSocket().accept();
        assert.deepEqual([made.state, opened.length], ['disconnected', 0]);
    }
});

test('a closed connection is in no channel, and the channels of a retried one are subscribing', async () => {
    const made = connected({ shouldReconnect: false });
    const demo = made.channel('demo');
    lastSocket().accept();
    const joining = made.channel('news').subscribe();
    lastSocket().drop(1006);
    assert.deepEqual([made.state, demo.state], ['disconnected', 'unsubscribed']);
    await assert.rejects(joining, failsWith('closed', 'subscribe'));
    made.shouldReconnect = true;
    made.retryConnection();
    tick(2000);
    assert.equal(made.state, 'connecting');
    reply('second');
    assert.equal(demo.state, 'subscribed');
});

test('a mutator that throws once does not affect later attempts', () => {
    const made = connection();
    made.connect();
    made.mutators.connect.push(() => { throw new Error('of a mutator'); });
    lastRequest().fail();
    assert.throws(() => tick(2000), { message: 'of a mutator' });
    made.closeConnection();
    made.mutators.connect.pop();
    made.connect();
    assert.equal(made.state, 'connecting');
});

test('a logger receives internal events', () => {
    const lines = [];
    connected({ logger: (event, details) => lines.push([event, details]) });
    lastSocket().accept();
    lastSocket().frame([]);
    lastSocket().drop(4002, 'too slow');
    assert.deepEqual(lines.map(([event]) => event), ['state', 'open', 'state', 'close', 'state', 'retry']);
    assert.deepEqual(lines[3][1], { transport: 'websocket', code: 4002, reason: 'too slow', clean: true });
});

test('debug prints internal events and unset callbacks', () => {
    const printed = mock.method(console, 'log', () => {});
    const made = new ChannelStreamConnection({ debug: true, connectUrl: '/c', websocketUrl: 'ws://server/ws' });
    made.connect();
    reply('first');
    const names = printed.mock.calls.map(({ arguments: [first, second] }) => (first === 'channelstream' ? second : first));
    for (const name of ['state', 'open', 'connectCallback', 'beforeListeningCallback', 'channelsChangedCallback']) {
        assert.ok(names.includes(name), `${name} in ${names}`);
    }
});

test('the library works in a worker, which has no page', () => {
    page.uninstall();
    const made = connected();
    lastSocket().accept();
    assert.equal(made.state, 'connected');
    made.closeConnection();
    page.install();
});
