/** Compatibility with pages written for the client of 0.7.1, `@channelstream/channelstream` 0.1.1. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { ChannelStreamConnection } from '../../../static/channelstream/src/index.js';
import { FakeRequest, FakeSocket, connected, connection, install, lastRequest, lastSocket, uninstall } from '../support/fakes.mjs';

beforeEach(install);
afterEach(uninstall);

const tick = (ms) => mock.timers.tick(ms);

const PROPERTIES = {
    debug: false, channels: [], username: 'Anonymous', connectionId: null, websocket: null, websocketUrl: '',
    connectUrl: '', disconnectUrl: '', subscribeUrl: '', unsubscribeUrl: '', userStateUrl: '', messageUrl: '',
    messageEditUrl: '', messageDeleteUrl: '', longPollUrl: '', shouldReconnect: true, heartbeats: true,
    increaseBounceIv: 2000, noWebsocket: false, connected: false,
};

const KINDS = [
    'connect', 'message', 'messageEdit', 'messageDelete', 'subscribe', 'unsubscribe', 'disconnect', 'userState',
];

const METHODS = [
    'connect', 'addMutator', 'updateUserState', 'subscribe', 'unsubscribe', 'calculateSubscribe',
    'calculateUnsubscribe', 'disconnect', 'message', 'delete', 'edit', 'startListening', 'openWebsocket',
    'openLongPoll', 'retryConnection', 'closeConnection', 'createHeartBeats',
];

const CALLBACKS = [
    'beforeListening', 'connectionClosed', 'channelsChanged', 'listenOpened', 'connectError', 'listenMessage',
    'listenClose', 'listenError', 'connect', 'disconnect', 'message', 'messageError', 'messageEdit',
    'messageEditError', 'messageDelete', 'messageDeleteError', 'subscribe', 'subscribeError', 'unsubscribe',
    'unsubscribeError', 'setUserState', 'setUserStateError',
];

test('the file names of 0.7.1 have the same exports', async () => {
    const { LIBRARY } = await import('../support/bundle.mjs');
    const whole = await import(new URL('index.js', LIBRARY));
    for (const [file, name] of [['channelstream.js', 'ChannelStreamConnection'], ['signer.js', 'ChannelStreamSigner']]) {
        const module = await import(new URL(file, LIBRARY));
        assert.deepEqual(Object.keys(module), [name]);
        assert.equal(module[name], whole[name], 'one class under all names');
    }
});

test('properties have the same names and defaults, and can be assigned', () => {
    const made = new ChannelStreamConnection();
    for (const [name, value] of Object.entries(PROPERTIES)) {
        assert.deepEqual(made[name], value, name);
        made[name] = value;
    }
    for (const kind of KINDS) {
        assert.deepEqual(made.mutators[kind], [], kind);
    }
});

test('methods and callbacks have the same names', () => {
    const made = new ChannelStreamConnection();
    for (const name of [...METHODS, ...CALLBACKS.map((each) => `${each}Callback`)]) {
        assert.equal(typeof made[name], 'function', name);
    }
});

test('callbacks can be methods of a subclass', () => {
    class Page extends ChannelStreamConnection {
        received = [];

        listenMessageCallback(messages) {
            this.received.push(...messages);
        }
    }
    const made = new Page();
    made.connectUrl = '/connect';
    made.websocketUrl = 'ws://server/ws';
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: [] });
    lastSocket().accept();
    lastSocket().frame([{ uuid: 'a' }]);
    assert.deepEqual(made.received, [{ uuid: 'a' }]);
});

test('callbacks run in the same order', () => {
    const made = connection();
    const calls = [];
    for (const name of CALLBACKS) {
        made[`${name}Callback`] = () => calls.push(name);
    }
    made.connect();
    lastRequest().answer(200, { conn_id: 'first', channels: ['demo'] });
    lastSocket().accept();
    lastSocket().frame([{ uuid: 'a' }]);
    made.disconnect();
    lastRequest().answer(200, true);
    assert.deepEqual(calls, [
        'channelsChanged', 'connect', 'beforeListening', 'listenOpened', 'listenMessage', 'connectionClosed',
        'disconnect',
    ]);
});

for (const [method, callback, argument] of [
    ['message', 'message', {}], ['edit', 'messageEdit', {}], ['delete', 'messageDelete', {}],
    ['subscribe', 'subscribe', ['a']], ['unsubscribe', 'unsubscribe', ['demo']], ['updateUserState', 'setUserState', {}],
]) {
    test(`${method}: status 400 is a success for callbacks, and an error for the promise`, async () => {
        const reported = [];
        const made = connected();
        made[`${callback}Callback`] = (request, data) => reported.push([request.status, data]);
        made[`${callback}ErrorCallback`] = () => reported.push('error');
        const promise = made[method](argument);
        lastRequest().answer(400, { channels: ['not valid'] });
        assert.deepEqual(reported, [[400, { channels: ['not valid'] }]]);
        await assert.rejects(promise, { code: 'refused', status: 400 });
        assert.deepEqual(made.channels, ['demo'], 'no list of errors becomes a list of channels');
        for (const status of [401, 404, 422, 500]) {
            made[method](argument);
            lastRequest().answer(status, {});
            assert.equal(reported.at(-1), 'error');
        }
    });
}

test('disconnect: status 400 is a success for its callback too', () => {
    const made = connected();
    const reported = [];
    made.disconnectCallback = (request) => reported.push(request.status);
    made.disconnect();
    lastRequest().answer(400, {});
    assert.deepEqual(reported, [400]);
});

test('the page can listen with its own id without connect()', () => {
    const made = connection();
    made.connectionId = 'given';
    made.startListening();
    assert.equal(made.state, 'connecting');
    assert.equal(lastSocket().url, 'ws://server/ws?conn_id=given&resume=1');
    lastSocket().accept();
    assert.deepEqual([made.connected, made.state], [true, 'connected']);
    made.openLongPoll();
    assert.equal(lastRequest().url, '//server/listen?conn_id=given&resume=1');
    made.openWebsocket();
    assert.equal(lastSocket().url, 'ws://server/ws?conn_id=given&resume=1');
});

test('choosing a transport ends the wait for another', () => {
    const made = connected();
    lastSocket().accept();
    lastSocket().drop(1006);
    made.openLongPoll();
    const count = FakeSocket.opened.length;
    tick(600_000);
    assert.equal(FakeSocket.opened.length, count);
});

test('the socket in use is a property, which is null after its end', () => {
    const made = connected();
    assert.equal(made.websocket, lastSocket());
    lastSocket().accept();
    made.closeConnection();
    assert.equal(made.websocket, null);
});

test('the library calls a connect() that the page has wrapped', () => {
    const made = connection();
    const original = made.connect;
    made.connect = function connect() {
        this.username = `${this.username}!`;
        return original.call(this);
    };
    made.connect();
    lastRequest().fail();
    tick(2000);
    assert.equal(lastRequest().body.username, 'ada!!');
    made.retryConnection();
    tick(4000);
    assert.equal(FakeRequest.sent.length, 3);
});

test('unset channels are sent as an empty list', () => {
    const made = connection({ channels: undefined });
    made.connect();
    assert.deepEqual(lastRequest().body, { username: 'ada', channels: [] });
    lastRequest().answer(200, { conn_id: 'first' });
    assert.deepEqual(made.channels, []);
});

test('heartbeats can be turned off and on again', () => {
    const made = connected({ heartbeats: false });
    const socket = lastSocket();
    socket.accept();
    tick(30_000);
    assert.deepEqual(socket.sent, []);
    made.heartbeats = true;
    made.createHeartBeats();
    tick(10_000);
    assert.equal(socket.sent.length, 1);
    made.heartbeats = false;
    tick(10_000);
    assert.equal(socket.sent.length, 1);
});
